// Package acme obtains and renews certificates by RFC 8555, through lego.
//
// Names come as values (Manager.Want), challenges are answered as values (ChallengeCert,
// HTTPToken) that the server mounts, and certificates leave through Options.Publish. What
// happened to a name is kept in storage: a restart neither repeats an order nor forgets a
// back-off. Starting never waits for the CA.
package acme

// Package decode turns labels, flags, environment variables and files into the
// structs of package config.
//
// Every source first becomes a tree of nodes: keys and texts, without types. One walk
// then sets the structs by reflection; what it cannot place becomes a config.Problem that
// names the place, the key and the nearest right key, and costs nothing else. This is the only
// package with reflection over user input and the only one that knows file formats.
package decode

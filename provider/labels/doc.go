// Package labels turns labelled workloads (containers, Swarm services) into dynamic
// configuration: automatic names and rules, servers, and the merge of what several
// workloads say about one name. It does no I/O; the Docker and Swarm providers tell it
// what runs and where.
package labels

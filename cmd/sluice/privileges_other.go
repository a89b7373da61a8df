//go:build !linux

package main

// shedPrivileges does nothing here.
func shedPrivileges() error { return nil }

//go:build !linux

package main

import "os"

// hideInput does nothing: the password is shown while it is typed.
func hideInput(*os.File) (restore func()) { return nil }

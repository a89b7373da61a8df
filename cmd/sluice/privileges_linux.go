package main

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"unsafe"
)

// Capabilities that a router started as root keeps (capabilities(7)).
const (
	capDACOverride    = 1  // certificates and sockets may belong to somebody else
	capFowner         = 3  // the mode of acme.json is mended, whoever owns it
	capNetBindService = 10 // entry points that are added later have ports below 1024 too
	capLast           = 63
	capSetPCap        = 1 << 8 // as a bit: who lacks it cannot shrink the bounding set
	kept              = 1<<capDACOverride | 1<<capFowner | 1<<capNetBindService
)

const (
	prCapBoundingRead  = 23
	prCapBoundingDrop  = 24
	prSetNoNewPrivs    = 38
	capabilityVersion3 = 0x20080522
)

// capHeader and capData are the arguments of capget(2) and capset(2), version 3.
type capHeader struct {
	version uint32
	pid     int32
}

type capData [2]struct{ effective, permitted, inheritable uint32 }

// shedPrivileges gives up, for good and for programs that are started too, what root may do and
// a router never needs. It does nothing for other users. Image and unit need no setting for it:
// a compose file that runs the router as root, as the reference's image does, runs with less.
func shedPrivileges() error {
	if os.Geteuid() != 0 {
		return nil
	}
	h := capHeader{version: capabilityVersion3}
	var d capData
	if _, _, e := syscall.RawSyscall(syscall.SYS_CAPGET, uintptr(unsafe.Pointer(&h)), uintptr(unsafe.Pointer(&d)), 0); e != 0 {
		return fmt.Errorf("capabilities cannot be read: %w", e)
	}
	var errs []error
	tell := func(what string, e syscall.Errno) {
		if e != 0 {
			errs = append(errs, fmt.Errorf("%s: %w", what, e))
		}
	}
	for c := uintptr(0); c <= capLast && d[0].effective&capSetPCap != 0; c++ {
		has, _, e := syscall.RawSyscall(syscall.SYS_PRCTL, prCapBoundingRead, c, 0)
		if e != 0 {
			break // the kernel knows no more
		}
		if has == 1 && kept&(uint64(1)<<c) == 0 {
			_, _, e = syscall.AllThreadsSyscall(syscall.SYS_PRCTL, prCapBoundingDrop, c, 0)
			if e == syscall.ENOTSUP { // said once, not for each capability
				return errors.New("this binary was built with cgo; build it with CGO_ENABLED=0")
			}
			tell("bounding set", e)
		}
	}
	for i := range d {
		mask := uint32(uint64(kept) >> (32 * i))
		d[i].effective &= mask
		d[i].permitted &= mask
		d[i].inheritable = 0
	}
	// The conversions stand in the calls: what they point to stays where it is until every thread is done.
	_, _, e := syscall.AllThreadsSyscall(syscall.SYS_CAPSET, uintptr(unsafe.Pointer(&h)), uintptr(unsafe.Pointer(&d)), 0)
	tell("capabilities", e)
	_, _, e = syscall.AllThreadsSyscall6(syscall.SYS_PRCTL, prSetNoNewPrivs, 1, 0, 0, 0, 0)
	tell("no new privileges", e)
	return errors.Join(errs...)
}

package store

import (
	"context"
	"time"
)

// Await tries to take a lock every so often until it has it. It returns try's error at once,
// or that of ctx once it ends. It is for Stores that nobody tells of a lock that is given back.
func Await(ctx context.Context, every time.Duration, try func() (got bool, err error)) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		got, err := try()
		switch {
		case err != nil && ctx.Err() != nil:
			return ctx.Err()
		case err != nil || got:
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(every):
		}
	}
}

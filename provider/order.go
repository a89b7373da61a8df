package provider

import (
	"context"
	"fmt"
	"time"
)

// settle is the time between the moment a unit leaves rotation and the look whether a
// request reached it nevertheless.
const settle = 50 * time.Millisecond

// Order is what a Sleeper is asked for; who takes one from Orders has to call Done.
type Order struct {
	// Unit is the unit meant, to be woken if Wake is set and put to sleep otherwise.
	Unit string
	Wake bool
	busy func() bool
	done chan error // has room for the answer
}

// Orders hands what is asked of a Sleeper to the loop that knows its workloads. It must be
// made with room for none. To embed it is to have the methods of Sleeper.
type Orders chan *Order

// Sleep implements Sleeper.
func (c Orders) Sleep(ctx context.Context, unit string, busy func() bool) error {
	return c.ask(ctx, &Order{Unit: unit, busy: busy})
}

// Wake implements Sleeper.
func (c Orders) Wake(ctx context.Context, unit string) error {
	return c.ask(ctx, &Order{Unit: unit, Wake: true})
}

func (c Orders) ask(ctx context.Context, o *Order) error {
	o.done = make(chan error, 1)
	select {
	case c <- o:
	case <-ctx.Done():
		return fmt.Errorf("the engine is not connected: %w", ctx.Err())
	}
	select {
	case err := <-o.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Done answers the order. It is to be called once, and does not block.
func (o *Order) Done(err error) { o.done <- err }

// Settle waits until no new request reaches a unit that has left rotation, and gives ErrBusy if
// one is under way then. It is for an order to sleep.
func (o *Order) Settle(ctx context.Context) error {
	select {
	case <-time.After(settle):
	case <-ctx.Done():
		return ctx.Err()
	}
	if o.busy() {
		return ErrBusy
	}
	return nil
}

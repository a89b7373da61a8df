package exchange

import "fmt"

// Doubts tell what of a service works but is hardly meant. The zero value tells nothing. It is
// not safe for concurrent use.
type Doubts struct{ text string }

// Add adds a doubt; one without text is none.
func (d *Doubts) Add(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if d.text != "" && text != "" {
		d.text += "; "
	}
	d.text += text
}

// Warning is all of them in one line, or "".
func (d *Doubts) Warning() string { return d.text }

package server

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// firstSocket is the descriptor of the first socket that systemd passes (sd_listen_fds(3)).
const firstSocket = 3

// sockets are open ports that were passed to the program, by the name of their entry point.
type sockets struct {
	tcp map[string][]net.Listener
	udp map[string][]*net.UDPConn
}

// Sockets takes the sockets that systemd opened for this process (socket activation): the
// FileDescriptorName of each is the entry point that it belongs to. lookup reads the environment.
// Without any it returns nil.
func Sockets(lookup func(string) (string, bool)) (map[string][]*os.File, error) {
	get := func(name string) string { v, _ := lookup(name); return v }
	if pid := get("LISTEN_PID"); pid == "" || pid != strconv.Itoa(os.Getpid()) {
		return nil, nil // none, or those of another process
	}
	n, err := strconv.Atoi(get("LISTEN_FDS"))
	if err != nil || n < 0 || n > 1000 {
		return nil, fmt.Errorf("LISTEN_FDS: %q is no number of sockets", get("LISTEN_FDS"))
	}
	names := strings.Split(get("LISTEN_FDNAMES"), ":")
	if n > 0 && len(names) != n {
		return nil, fmt.Errorf("LISTEN_FDNAMES: %d names for %d sockets; set FileDescriptorName= to the entry point in every .socket unit", len(names), n)
	}
	out := map[string][]*os.File{}
	for i := range n {
		fd := firstSocket + i
		unix.CloseOnExec(fd)
		out[names[i]] = append(out[names[i]], os.NewFile(uintptr(fd), names[i]))
	}
	return out, nil
}

// adopt turns passed sockets into listeners. Sockets of entry points that there are not
// are refused: nobody would answer at them.
func adopt(files map[string][]*os.File, known func(name string) bool) (*sockets, error) {
	s := &sockets{tcp: map[string][]net.Listener{}, udp: map[string][]*net.UDPConn{}}
	var errs []error
	for name, list := range files {
		for _, f := range list {
			if err := s.take(name, f, known(name)); err != nil {
				errs = append(errs, fmt.Errorf("socket %s: %w", name, err))
			}
			_ = f.Close() // what is used is a duplicate
		}
	}
	if err := errors.Join(errs...); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *sockets) take(name string, f *os.File, known bool) error {
	if !known {
		return errors.New("there is no entry point of this name; name it by FileDescriptorName= in the .socket unit")
	}
	if l, err := net.FileListener(f); err == nil {
		s.tcp[name] = append(s.tcp[name], l)
		return nil
	}
	c, err := net.FilePacketConn(f)
	if err != nil {
		return fmt.Errorf("is neither a listening stream nor a datagram socket: %w", err)
	}
	u, ok := c.(*net.UDPConn)
	if !ok {
		_ = c.Close()
		return fmt.Errorf("is a datagram socket of %s, not of UDP", c.LocalAddr().Network())
	}
	s.udp[name] = append(s.udp[name], u)
	return nil
}

func (s *sockets) close() {
	for _, list := range s.tcp {
		for _, l := range list {
			_ = l.Close()
		}
	}
	for _, list := range s.udp {
		for _, u := range list {
			_ = u.Close()
		}
	}
}

// takeTCP gives the listeners of an entry point away; it has them once.
func (s *sockets) takeTCP(name string) []net.Listener {
	out := s.tcp[name]
	delete(s.tcp, name)
	return out
}

func (s *sockets) takeUDP(name string) []*net.UDPConn {
	out := s.udp[name]
	delete(s.udp, name)
	return out
}

// notifier tells systemd how the program is (sd_notify(3)). The zero value tells nobody.
type notifier struct {
	socket string
	// every is how often the watchdog wants to hear something; zero: there is none.
	every time.Duration
}

func newNotifier(lookup func(string) (string, bool)) notifier {
	var n notifier
	n.socket, _ = lookup("NOTIFY_SOCKET")
	if n.socket == "" {
		return n
	}
	if strings.HasPrefix(n.socket, "@") { // the abstract name space
		n.socket = "\x00" + n.socket[1:]
	}
	usec, _ := lookup("WATCHDOG_USEC")
	pid, given := lookup("WATCHDOG_PID")
	if us, err := strconv.ParseInt(usec, 10, 64); err == nil && us > 0 && (!given || pid == strconv.Itoa(os.Getpid())) {
		n.every = time.Duration(us) * time.Microsecond / 2
	}
	return n
}

// say sends lines such as "READY=1". Nobody listening is no error: the program goes on.
func (n notifier) say(lines ...string) {
	if n.socket == "" {
		return
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: n.socket, Net: "unixgram"})
	if err != nil {
		return
	}
	defer func() { _ = c.Close() }()
	_, _ = c.Write([]byte(strings.Join(lines, "\n")))
}

// reloading tells that a reload began; "READY=1" ends it.
func (n notifier) reloading() {
	var now unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) == nil {
		n.say("RELOADING=1", "MONOTONIC_USEC="+strconv.FormatInt(now.Nano()/1000, 10))
	}
}

package decode

import (
	"strings"
)

// Compose is what a compose file says that matters to routing.
type Compose struct {
	Name     string
	Services []ComposeService
	// Networks maps the keys of networks to their real names, where a name is given.
	Networks map[string]string
}

// ComposeService is one service. Where is "file NAME:LINE:COLUMN".
type ComposeService struct {
	Name, Where string
	Image       string
	// Built is set where it has an image that is built.
	Built       bool
	NetworkMode string
	// Swarm reports labels below deploy; they are in Labels.
	Swarm   bool
	Labels  []ComposeValue
	Command []ComposeValue
	Env     []ComposeValue
	// Networks are keys of networks; without any the service is in "default".
	Networks []ComposeValue
	Ports    []string
	Expose   []string
	Volumes  []string
}

// ComposeValue is a text with its place. Key is set for labels and variables.
type ComposeValue struct{ Key, Value, Where string }

// ParseCompose reads a compose file. Variables are not replaced. The error is an *Error.
func ParseCompose(name string, data []byte) (*Compose, error) {
	root, err := parse(name, data)
	if err != nil {
		return nil, err
	}
	c := &Compose{Networks: map[string]string{}}
	if root == nil || root.child("services", false) == nil {
		return nil, unreadable("file "+name, "is no compose file: it has no services", "")
	}
	if n := root.child("name", false); n != nil {
		c.Name = n.value
	}
	if nets := root.child("networks", false); nets != nil {
		for _, n := range nets.kids {
			c.Networks[n.key] = ""
			if real := n.child("name", false); real != nil {
				c.Networks[n.key] = real.value
			}
		}
	}
	for _, s := range root.child("services", false).kids {
		c.Services = append(c.Services, composeService(s))
	}
	return c, nil
}

func composeService(n *node) ComposeService {
	s := ComposeService{Name: n.key, Where: n.place()}
	for _, k := range n.kids {
		switch k.key {
		case "image":
			s.Image = k.value
		case "build", "extends":
			s.Built = true
		case "network_mode":
			s.NetworkMode = k.value
		case "labels":
			s.Labels = append(s.Labels, pairs(k)...)
		case "deploy":
			if l := k.child("labels", false); l != nil {
				s.Swarm = true
				s.Labels = append(s.Labels, pairs(l)...)
			}
		case "environment":
			s.Env = pairs(k)
		case "command":
			s.Command = words(k)
		case "networks":
			s.Networks = keys(k)
		case "ports":
			s.Ports = portList(k)
		case "expose":
			for _, e := range k.kids {
				s.Expose = append(s.Expose, e.value)
			}
		case "volumes":
			for _, v := range k.kids {
				if t := v.child("target", false); t != nil {
					s.Volumes = append(s.Volumes, t.value)
					continue
				}
				if parts := strings.Split(v.value, ":"); len(parts) > 1 {
					s.Volumes = append(s.Volumes, parts[1])
				} else {
					s.Volumes = append(s.Volumes, v.value)
				}
			}
		}
	}
	return s
}

// pairs reads a map, or a list of "key=value".
func pairs(n *node) []ComposeValue {
	out := make([]ComposeValue, 0, len(n.kids))
	for _, k := range n.kids {
		if n.kind == list {
			key, value, _ := strings.Cut(k.value, "=")
			out = append(out, ComposeValue{key, value, k.place()})
			continue
		}
		out = append(out, ComposeValue{k.key, k.value, k.place()})
	}
	return out
}

// words reads a list, or a text taken apart at spaces.
func words(n *node) []ComposeValue {
	var out []ComposeValue
	if n.kind == scalar {
		for f := range strings.FieldsSeq(n.value) {
			out = append(out, ComposeValue{Value: strings.Trim(f, `"'`), Where: n.place()})
		}
	}
	for _, k := range n.kids {
		out = append(out, ComposeValue{Value: k.value, Where: k.place()})
	}
	return out
}

// keys reads the keys of a map, or a list of them.
func keys(n *node) []ComposeValue {
	var out []ComposeValue
	for _, k := range n.kids {
		name := k.key
		if n.kind == list {
			name = k.value
		}
		out = append(out, ComposeValue{Value: name, Where: k.place()})
	}
	return out
}

// portList gives the container's side of published ports.
func portList(n *node) []string {
	var out []string
	for _, k := range n.kids {
		port := k.value
		if t := k.child("target", false); t != nil {
			port = t.value
		}
		port, proto, _ := strings.Cut(port, "/")
		port = port[strings.LastIndexByte(port, ':')+1:]
		if port != "" && proto != "udp" {
			out = append(out, port)
		}
	}
	return out
}

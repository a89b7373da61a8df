package push

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sluice-edge/sluice/config"
)

// Influx writes points to an InfluxDB of version 2. Percentiles of durations are estimated
// from buckets.
type Influx struct {
	client *http.Client
	url    string
	token  string
	tags   map[string]string
}

// NewInflux checks the options.
func NewInflux(c *config.InfluxDB2) (*Influx, error) {
	u, err := url.Parse(c.Address)
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("address %q is not http(s)://host:port", c.Address)
	}
	token := string(c.Token)
	if text, err := os.ReadFile(token); err == nil {
		token = strings.TrimSpace(string(text))
	}
	u = u.JoinPath("api/v2/write")
	u.RawQuery = url.Values{"org": {c.Org}, "bucket": {c.Bucket}, "precision": {"ns"}}.Encode()
	return &Influx{client: &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, IdleConnTimeout: 5 * time.Second}},
		url: u.String(), token: token, tags: c.AdditionalLabels}, nil
}

// Push implements Receiver.
func (x *Influx) Push(ctx context.Context, list []Reading) error {
	var body bytes.Buffer
	now := time.Now().UnixNano()
	for i := range list {
		body.Write(x.point(&list[i], now))
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, x.url, &body)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Token "+x.token)
	req.Header.Set("Content-Type", "text/plain; charset=utf-8")
	resp, err := x.client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 500))
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("the server answered %s %q", resp.Status, text)
	}
	return nil
}

// Totals implements Receiver.
func (x *Influx) Totals() bool { return false }

// Close implements Receiver.
func (x *Influx) Close() { x.client.CloseIdleConnections() }

// point is a line of Influx's protocol: name,tags fields time. Tags are sorted.
func (x *Influx) point(s *Reading, now int64) []byte {
	name := "traefik." + s.statsdName()
	switch s.What {
	case Requests, RequestsTLS:
		name = strings.Replace(name, ".request.", ".requests.", 1)
	}
	b := append([]byte(nil), influxEscape(name)...)
	tags := maps.Clone(x.tags)
	if tags == nil {
		tags = map[string]string{}
	}
	for i := 0; i+1 < len(s.Labels); i += 2 {
		tags[s.Labels[i]] = s.Labels[i+1]
	}
	for _, k := range slices.Sorted(maps.Keys(tags)) {
		if tags[k] != "" { // the protocol knows no empty values
			b = append(append(append(append(b, ','), influxEscape(k)...), '='), influxEscape(tags[k])...)
		}
	}
	number := func(key string, v float64) {
		b = strconv.AppendFloat(append(append(b, key...), '='), v, 'f', -1, 64)
	}
	b = append(b, ' ')
	switch {
	case s.Hist != nil:
		for i, p := range []float64{50, 90, 95, 99} {
			if i > 0 {
				b = append(b, ',')
			}
			number("p"+strconv.Itoa(int(p)), s.percentile(p/100))
		}
	case s.Gauge:
		number("value", s.Value)
	default:
		number("count", s.Value)
	}
	return append(strconv.AppendInt(append(b, ' '), now, 10), '\n')
}

// percentile estimates from the buckets; value is how many durations there are.
func (s *Reading) percentile(p float64) float64 {
	if s.Value == 1 {
		return s.Sum
	}
	rest, bounds := p*s.Value, FineBounds()
	for i, n := range s.Hist {
		if n == 0 {
			continue
		}
		if rest <= float64(n) {
			if i == len(bounds) {
				break
			}
			low := 0.0
			if i > 0 {
				low = bounds[i-1]
			}
			return low + (bounds[i]-low)*rest/float64(n)
		}
		rest -= float64(n)
	}
	return bounds[len(bounds)-1]
}

func influxEscape(s string) string {
	return strings.NewReplacer(",", `\,`, "=", `\=`, " ", `\ `, "\n", " ", "\r", " ").Replace(s)
}

package middleware

import (
	"errors"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/sluice-edge/sluice/config"
)

// jsonName is a struct field's key in configuration.
func jsonName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	return name
}

func TestEveryKindIsInTheTable(t *testing.T) {
	rows := map[string]kind{}
	for _, k := range kinds() {
		if _, twice := rows[k.name]; twice {
			t.Errorf("%s stands twice in the table", k.name)
		}
		rows[k.name] = k
	}
	typ := reflect.TypeFor[config.Middleware]()
	for i := range typ.NumField() {
		f := typ.Field(i)
		name := jsonName(f)
		if name == "-" {
			continue
		}
		k, ok := rows[name]
		if !ok {
			t.Errorf("%s has no row", name)
			continue
		}
		delete(rows, name)
		cfg := &config.Middleware{}
		if k.isSet(cfg) {
			t.Errorf("%s is set in an empty configuration", name)
		}
		v := reflect.ValueOf(cfg).Elem().Field(i)
		if f.Type.Kind() == reflect.Pointer {
			v.Set(reflect.New(f.Type.Elem()))
		} else {
			v.Set(reflect.ValueOf(map[string]map[string]any{"x": {}}))
		}
		if !k.isSet(cfg) || Kind(cfg) != name {
			t.Errorf("%s is not recognised: %q", name, Kind(cfg))
		}
		// An empty object either builds or names what it lacks; it never panics.
		if _, err := Build("m@file", cfg, Deps{}); err != nil && !strings.Contains(err.Error(), ": ") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name := range rows {
		t.Errorf("the row %s is for nothing", name)
	}
}

func TestBuild(t *testing.T) {
	off := false
	page := func(string) (http.Handler, error) { return http.NotFoundHandler(), nil }
	for name, c := range map[string]struct {
		cfg       config.Middleware
		op, stage bool
	}{
		"op":          {config.Middleware{AddPrefix: &config.AddPrefix{Prefix: "/x"}}, true, false},
		"stage":       {config.Middleware{Compress: &config.Compress{}}, false, true},
		"errors":      {config.Middleware{Errors: &config.ErrorPage{Service: "s"}}, false, true},
		"nothing":     {config.Middleware{ContentType: &config.ContentType{AutoDetect: &off}}, false, false},
		"no limit":    {config.Middleware{RateLimit: &config.RateLimit{}}, false, false},
		"maintenance": {config.Middleware{Maintenance: &config.Maintenance{Enabled: &off}}, false, false},
		"forward":     {config.Middleware{ForwardAuth: &config.ForwardAuth{Address: "http://a"}}, true, false},
		"forward all": {config.Middleware{ForwardAuth: &config.ForwardAuth{Address: "http://a", ForwardBody: true}}, false, true},
		"white list":  {config.Middleware{IPWhiteList: &config.IPWhiteList{SourceRange: []string{"::1"}}}, true, false},
	} {
		b, err := Build("m@file", &c.cfg, Deps{Service: page, State: NewState()})
		if err != nil || (b.Op != nil) != c.op || (b.Stage != nil) != c.stage {
			t.Errorf("%s: %+v %v", name, b, err)
		}
	}
}

func TestBuildErrors(t *testing.T) {
	for name, c := range map[string]struct {
		cfg   config.Middleware
		field string
	}{
		"empty":  {config.Middleware{}, "middleware"},
		"two":    {config.Middleware{AddPrefix: &config.AddPrefix{Prefix: "/x"}, StripPrefix: &config.StripPrefix{}}, "middleware"},
		"broken": {config.Middleware{AddPrefix: &config.AddPrefix{Prefix: "/x"}, Broken: "a label could not be read"}, "middleware"},
		"plugin": {config.Middleware{Plugin: map[string]map[string]any{"thing": {}}}, "plugin"},
		"option": {config.Middleware{BasicAuth: &config.BasicAuth{}}, "users"},
	} {
		b, err := Build("m@file", &c.cfg, Deps{})
		var oe *OptionError
		if !errors.As(err, &oe) || oe.Field != c.field || oe.Text == "" || oe.Remedy == "" || b.Op != nil || b.Stage != nil {
			t.Errorf("%s: %v %+v", name, err, oe)
		}
	}
}

func TestPasswdIsReExported(t *testing.T) {
	if line, label, err := Passwd("ann", "x"); err != nil || !strings.HasPrefix(line, "ann:$2") || !strings.HasPrefix(label, "ann:$$2") {
		t.Error(line, label, err)
	}
}

// unbuildable has, for each kind that guards something, options it cannot be built with;
// encodedCharacters, whose options are all booleans, always can.
var unbuildable = map[string][]config.Middleware{
	"basicAuth": {
		{BasicAuth: &config.BasicAuth{}},
		{BasicAuth: &config.BasicAuth{Users: []string{"nocolon"}}},
		{BasicAuth: &config.BasicAuth{UsersFile: "/does/not/exist"}},
	},
	"digestAuth": {
		{DigestAuth: &config.DigestAuth{}},
		{DigestAuth: &config.DigestAuth{Users: []string{"u:p"}}},
		{DigestAuth: &config.DigestAuth{UsersFile: "/does/not/exist"}},
	},
	"forwardAuth": {
		// An address that leads nowhere is built and answers 500, as the reference does.
		{ForwardAuth: &config.ForwardAuth{Address: "https://a", TLS: &config.ClientTLS{CA: "/does/not/exist"}}},
		{ForwardAuth: &config.ForwardAuth{Address: "http://a", AuthResponseHeadersRegex: "^("}},
	},
	"ipAllowList": {
		{IPAllowList: &config.IPAllowList{}},
		{IPAllowList: &config.IPAllowList{SourceRange: []string{"10.0.0.300"}}},
		{IPAllowList: &config.IPAllowList{SourceRange: []string{"10.0.0.0/8"}, RejectStatusCode: 99}},
		{IPAllowList: &config.IPAllowList{SourceRange: []string{"10.0.0.0/8"}, IPStrategy: &config.IPStrategy{ExcludedIPs: []string{"x"}}}},
	},
	"ipWhiteList": {{IPWhiteList: &config.IPWhiteList{}}, {IPWhiteList: &config.IPWhiteList{SourceRange: []string{"10.0.0.0/99"}}}},
	"ipDenyList":  {{IPDenyList: &config.IPDenyList{}}, {IPDenyList: &config.IPDenyList{SourceRange: []string{"nobody"}}}},
	"rateLimit": {
		{RateLimit: &config.RateLimit{Average: 1, Period: -1}},
		{RateLimit: &config.RateLimit{Average: 1, SourceCriterion: &config.SourceCriterion{RequestHost: true, RequestHeaderName: "X"}}},
		{RateLimit: &config.RateLimit{Average: 1, SourceCriterion: &config.SourceCriterion{IPStrategy: &config.IPStrategy{ExcludedIPs: []string{"x"}}}}},
	},
	"inFlightReq": {
		{InFlightReq: &config.InFlightReq{Amount: 1, SourceCriterion: &config.SourceCriterion{RequestHost: true, RequestHeaderName: "X"}}},
	},
	"encodedCharacters": nil,
	"maintenance":       {{Maintenance: &config.Maintenance{Allow: []string{"office"}}}, {Maintenance: &config.Maintenance{RetryAfter: -1}}},
}

func TestAGuardIsBuiltWholeOrNotAtAll(t *testing.T) {
	for _, kind := range config.GuardKinds() {
		cases, ok := unbuildable[kind]
		if !ok {
			t.Errorf("no broken %s is tried", kind)
		}
		for i := range cases {
			b, err := Build("m@docker", &cases[i], Deps{State: NewState()})
			var oe *OptionError
			if !errors.As(err, &oe) || b.Op != nil || b.Stage != nil || Kind(&cases[i]) != kind {
				t.Errorf("%s %d is built: %+v, %v", kind, i, b, err)
			}
		}
	}
}

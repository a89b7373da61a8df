package api

import (
	"bytes"
	"encoding"
	"encoding/json"
	"flag"
	"net/http"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluice-edge/sluice/config"
)

var update = flag.Bool("update", false, "write openapi.json")

// endpoint is a path of the API as the document tells it.
type endpoint struct {
	path, summary string
	listed        bool
	static        bool // a list that is neither filtered nor sorted
	query         []string
	answer        reflect.Type
	media         string
}

func typeOf[T any]() reflect.Type { return reflect.TypeFor[T]() }

func routerQuery() []string { return []string{"serviceName", "middlewareName"} }

func endpoints() []endpoint {
	return []endpoint{
		{path: "/api/version", summary: "Version of the program", answer: typeOf[struct {
			Version   string
			Codename  string
			StartDate time.Time `json:"startDate"`
		}]()},
		{path: "/api/rawdata", summary: "The whole dynamic configuration with the state of its objects", answer: typeOf[rawdata]()},
		{path: "/api/overview", summary: "Counts of objects by state, features, providers", answer: typeOf[Overview]()},
		{path: "/api/support-dump", summary: "Version, static and runtime configuration without secrets, as tar.gz", media: "application/gzip"},
		{path: "/api/entrypoints", summary: "Entry points", listed: true, static: true, answer: typeOf[entryPointView]()},
		{path: "/api/certificates", summary: "Certificates offered to clients", listed: true, answer: typeOf[certificateView]()},
		{path: "/api/http/routers", summary: "HTTP routers", listed: true, query: routerQuery(), answer: typeOf[routerView]()},
		{path: "/api/http/services", summary: "HTTP services with the live state of their servers", listed: true, answer: typeOf[struct {
			serviceView
			shown
		}]()},
		{path: "/api/http/middlewares", summary: "HTTP middlewares", listed: true, answer: typeOf[struct {
			*config.MiddlewareInfo
			shown
		}]()},
		{path: "/api/tcp/routers", summary: "TCP routers", listed: true, query: routerQuery(), answer: typeOf[tcpRouterView]()},
		{path: "/api/tcp/services", summary: "TCP services", listed: true, answer: typeOf[struct {
			tcpServiceView
			shown
		}]()},
		{path: "/api/tcp/middlewares", summary: "TCP middlewares", listed: true, answer: typeOf[struct {
			*config.TCPMiddlewareInfo
			shown
		}]()},
		{path: "/api/udp/routers", summary: "UDP routers", listed: true, query: []string{"serviceName"}, answer: typeOf[struct {
			*config.UDPRouterInfo
			shown
		}]()},
		{path: "/api/udp/services", summary: "UDP services", listed: true, answer: typeOf[struct {
			*config.UDPServiceInfo
			shown
		}]()},
		{path: "/api/sluice/status", summary: "Generation and age of the live configuration, counts and counters", answer: typeOf[Status]()},
		{path: "/api/sluice/certificates", summary: "What certificate resolvers hold and wait for: state, next renewal, last error, next attempt", query: []string{"search", "status", "provider", "sortBy", "direction", "page", "per_page"}, answer: typeOf[[]Issued]()},
		{path: "/api/sluice/servers", summary: "Every server of every service, and whether requests are sent to it", query: []string{"search", "status", "provider", "sortBy", "direction", "page", "per_page"}, answer: typeOf[[]Server]()},
		{path: "/api/sluice/problems", summary: "What is wrong with the configuration, errors first", query: []string{"code", "severity", "provider", "search"}, answer: typeOf[[]config.Problem]()},
		{path: "/api/sluice/reasons", summary: "Answers the edge made itself, counted by reason", answer: typeOf[map[string]uint64]()},
		{path: "/api/sluice/static", summary: "The effective static configuration without secrets", answer: typeOf[map[string]any]()},
		{path: "/api/sluice/events", summary: "Server-sent events: change (a new configuration is live) and counters (every second)", media: "text/event-stream"},
		{path: "/api/sluice/explain", summary: "Which routers a request would meet, and why the others do not match", query: []string{"url", "method", "header", "entryPoint", "client"}, answer: typeOf[any]()},
		{path: "/api/sluice/openapi.json", summary: "This document", answer: typeOf[any]()},
	}
}

type object = map[string]any

// document builds the description from the endpoints and the types they answer with.
func document() []byte {
	schemas, paths := object{}, object{}
	message := object{"type": "object", "properties": object{"message": object{"type": "string"}}}
	fails := func(text string) object {
		return object{"description": text, "content": object{"application/json": object{"schema": message}}}
	}
	answers := func(text, media string, schema object) object {
		if media == "" {
			media = "application/json"
		}
		return object{"description": text, "content": object{media: object{"schema": schema}}}
	}
	for _, e := range endpoints() {
		var schema object
		if e.answer == nil {
			schema = object{"type": "string"}
		} else {
			schema = schemaOf(e.answer, schemas)
		}
		query := slices.Clone(e.query)
		responses := object{}
		if e.listed {
			if !e.static {
				query = append(query, "search", "status", "provider", "sortBy", "direction")
			}
			query = append(query, "page", "per_page")
			responses["200"] = answers("One page", "", object{"type": "array", "items": schema})
			responses["200"].(object)["headers"] = object{
				nextPage:   object{"description": "Number of the next page; 1 on the last", "schema": object{"type": "integer"}},
				totalCount: object{"description": "How many objects the query keeps, on all pages", "schema": object{"type": "integer"}},
			}
			responses["400"] = fails("A page that does not exist")
			paths[e.path+"/{id}"] = object{"get": object{
				"summary":    e.summary + ": one of them",
				"parameters": []any{object{"name": "id", "in": "path", "required": true, "schema": object{"type": "string"}}},
				"responses":  object{"200": answers("The object", "", schema), "404": fails("There is none of that name")},
			}}
		} else {
			responses["200"] = answers("The answer", e.media, schema)
		}
		parameters := []any{}
		for _, name := range query {
			kind := "string"
			if name == "page" || name == "per_page" {
				kind = "integer"
			}
			parameters = append(parameters, object{"name": name, "in": "query", "schema": object{"type": kind}})
		}
		paths[e.path] = object{"get": object{"summary": e.summary, "parameters": parameters, "responses": responses}}
	}
	paths["/api/sluice/explain"].(object)["post"] = object{
		"summary":     "Which routers a request would meet, and why the others do not match",
		"requestBody": object{"content": object{"application/json": object{"schema": schemaOf(typeOf[ExplainRequest](), schemas)}}},
		"responses":   object{"200": answers("The answer", "", object{}), "400": fails("A request that cannot be explained")},
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", " ")
	_ = enc.Encode(object{
		"openapi": "3.1.0",
		"info":    object{"title": "Sluice API", "version": "1", "license": object{"name": "Apache-2.0", "identifier": "Apache-2.0"}},
		"paths":   paths, "components": object{"schemas": schemas},
	})
	return b.Bytes()
}

func schemaOf(t reflect.Type, schemas object) object {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case t == typeOf[time.Time]():
		return object{"type": "string", "format": "date-time"}
	case t.Implements(typeOf[encoding.TextMarshaler]()):
		return object{"type": "string"}
	}
	switch t.Kind() {
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.String:
		return object{"type": "string"}
	case reflect.Float32, reflect.Float64:
		return object{"type": "number"}
	case reflect.Slice, reflect.Array:
		return object{"type": "array", "items": schemaOf(t.Elem(), schemas)}
	case reflect.Map:
		return object{"type": "object", "additionalProperties": schemaOf(t.Elem(), schemas)}
	case reflect.Interface:
		return object{}
	case reflect.Struct:
		if t.Name() == "" {
			return structOf(t, schemas)
		}
		if _, ok := schemas[t.Name()]; !ok {
			schemas[t.Name()] = nil // breaks circles
			schemas[t.Name()] = structOf(t, schemas)
		}
		return object{"$ref": "#/components/schemas/" + t.Name()}
	}
	return object{"type": "integer"}
}

func structOf(t reflect.Type, schemas object) object {
	properties := object{}
	var walk func(reflect.Type)
	walk = func(t reflect.Type) {
		for i := range t.NumField() {
			f := t.Field(i)
			key, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			in := f.Type
			for in.Kind() == reflect.Pointer {
				in = in.Elem()
			}
			switch {
			case f.Anonymous && key == "" && in.Kind() == reflect.Struct:
				walk(in)
			case key == "-" || !f.IsExported():
			case key == "":
				properties[f.Name] = schemaOf(f.Type, schemas)
			default:
				properties[key] = schemaOf(f.Type, schemas)
			}
		}
	}
	walk(t)
	return object{"type": "object", "properties": properties}
}

// TestOpenAPIIsCurrent fails when the API and its description part. Run it with -update
// to write the description anew.
func TestOpenAPIIsCurrent(t *testing.T) {
	want := document()
	if *update {
		if err := os.WriteFile("openapi.json", want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(OpenAPI(), want) {
		t.Error("openapi.json is stale; go test ./api -run OpenAPI -update")
	}
}

// TestOpenAPIPathsAnswer asks every path of the document.
func TestOpenAPIPathsAnswer(t *testing.T) {
	o := shopOptions()
	o.Explain = func(_ ctx, q ExplainRequest) (any, error) { return q, nil }
	h := New(o)
	ids := map[string]string{
		"/api/entrypoints": "web", "/api/http/routers": "shop@file", "/api/http/services": "cart@file",
		"/api/http/middlewares": "auth@file", "/api/tcp/routers": "named@file", "/api/tcp/services": "raw@file",
		"/api/tcp/middlewares": "lim@file", "/api/udp/routers": "u@file", "/api/udp/services": "dgram@file",
	}
	doc := decode[struct {
		Paths map[string]object `json:"paths"`
	}](t, get(t, h, "/api/sluice/openapi.json"))
	if len(doc.Paths) < len(endpoints()) {
		t.Fatalf("%d paths", len(doc.Paths))
	}
	for path := range doc.Paths {
		list, item := strings.CutSuffix(path, "/{id}")
		switch {
		case path == "/api/sluice/events", list == "/api/certificates" && item:
			continue
		case item:
			path = list + "/" + ids[list]
		case path == "/api/sluice/explain":
			path += "?url=http://a.test/"
		}
		if w := get(t, h, path); w.Code != http.StatusOK {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
}

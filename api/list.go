package api

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

const (
	defaultPerPage = 100
	nextPage       = "X-Next-Page"
	// totalCount is how many rows the query keeps, over all pages.
	totalCount = "X-Total-Count"
)

// row is one object of a list: what lists are filtered and sorted by, and what is shown.
type row struct {
	name, provider, status string
	kind                   string
	rule, service          string
	middlewares            []string
	// entryPoints, priority and servers are numbers; servers those of a balancer of its own.
	entryPoints, priority, servers int
	issuer                         string
	validUntil                     int64
	// search holds what the search parameter looks into.
	search []string
	body   any
}

// list answers with the rows that the query keeps, sorted, one page of them.
func list(rows func() []row) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		kept := filter(rows(), q)
		order(kept, q.Get("sortBy"), q.Get("direction"))
		writePage(w, q, kept)
	}
}

// listAll answers with a page of all rows, by name: the reference does not filter or sort
// what is static.
func listAll(rows func() []row) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		all := rows()
		order(all, "", "")
		writePage(w, r.URL.Query(), all)
	}
}

func writePage(w http.ResponseWriter, q url.Values, kept []row) {
	from, to, next, err := page(q, len(kept))
	if err != nil {
		writeError(w, http.StatusBadRequest, err.Error())
		return
	}
	bodies := make([]any, 0, to-from)
	for _, row := range kept[from:to] {
		bodies = append(bodies, row.body)
	}
	w.Header().Set(nextPage, strconv.Itoa(next))
	w.Header().Set(totalCount, strconv.Itoa(len(kept)))
	writeJSON(w, bodies)
}

// item answers with the object that find returns for the path's id, or 404. Names come
// escaped, as they may hold slashes.
func item(what string, find func(id string) (any, bool)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		id := r.PathValue("id")
		body, ok := find(id)
		if !ok {
			writeError(w, http.StatusNotFound, what+" not found: "+id)
			return
		}
		writeJSON(w, body)
	}
}

func filter(rows []row, q url.Values) []row {
	status, search := q.Get("status"), strings.ToLower(q.Get("search"))
	service, middleware, provider := q.Get("serviceName"), q.Get("middlewareName"), q.Get("provider")
	return slices.DeleteFunc(rows, func(r row) bool {
		return status != "" && !strings.EqualFold(status, r.status) ||
			search != "" && !found(r.search, search) ||
			provider != "" && !strings.EqualFold(provider, r.provider) ||
			service != "" && !names(r.service, service) ||
			middleware != "" && !slices.Contains(r.middlewares, middleware)
	})
}

func found(in []string, lower string) bool {
	return slices.ContainsFunc(in, func(s string) bool { return strings.Contains(strings.ToLower(s), lower) })
}

// names reports whether a router's service is the wanted one: by full name where the
// router says the provider, else by what stands before "@".
func names(service, wanted string) bool {
	if strings.Contains(service, "@") {
		return service == wanted
	}
	before, _, _ := strings.Cut(wanted, "@")
	return service == before
}

// order sorts by the named column and then by name; an unknown column is the name. As in
// the reference every direction but "asc" goes down, and an absent one up.
func order(rows []row, by, direction string) {
	column := func(a, b row) int { return 0 }
	switch by {
	case "provider":
		column = func(a, b row) int { return cmp.Compare(a.provider, b.provider) }
	case "priority":
		column = func(a, b row) int { return cmp.Compare(a.priority, b.priority) }
	case "status":
		column = func(a, b row) int { return cmp.Compare(a.status, b.status) }
	case "rule":
		column = func(a, b row) int { return cmp.Compare(a.rule, b.rule) }
	case "service":
		column = func(a, b row) int { return cmp.Compare(a.service, b.service) }
	case "entryPoints":
		column = func(a, b row) int { return cmp.Compare(a.entryPoints, b.entryPoints) }
	case "type":
		column = func(a, b row) int { return cmp.Compare(a.kind, b.kind) }
	case "servers":
		column = func(a, b row) int { return cmp.Compare(a.servers, b.servers) }
	case "issuer":
		column = func(a, b row) int { return cmp.Compare(a.issuer, b.issuer) }
	case "validUntil":
		column = func(a, b row) int { return cmp.Compare(a.validUntil, b.validUntil) }
	}
	sign := 1
	if direction != "" && direction != "asc" {
		sign = -1
	}
	slices.SortStableFunc(rows, func(a, b row) int {
		return sign * cmp.Or(column(a, b), cmp.Compare(a.name, b.name))
	})
}

// page returns the bounds of the wanted page of n rows, and the number of the next one: 1
// on the last. The first page may be empty, any other may not.
func page(q url.Values, n int) (from, to, next int, err error) {
	per, err := positive(q, "per_page", defaultPerPage)
	if err != nil {
		return 0, 0, 0, err
	}
	number, err := positive(q, "page", 1)
	if err != nil {
		return 0, 0, 0, err
	}
	if number > 1 && number-1 >= (n+per-1)/per {
		return 0, 0, 0, fmt.Errorf("invalid request: page: %d, per_page: %d", number, per)
	}
	from = (number - 1) * per
	if per >= n-from {
		return from, n, 1, nil
	}
	return from, from + per, number + 1, nil
}

func positive(q url.Values, key string, byDefault int) (int, error) {
	raw := q.Get(key)
	if raw == "" {
		return byDefault, nil
	}
	n, err := strconv.Atoi(raw)
	if err != nil || n <= 0 {
		return 0, fmt.Errorf("invalid request: %s: %d", key, n)
	}
	return n, nil
}

// providerOf is what follows the last "@" of a name.
func providerOf(name string) string {
	if i := strings.LastIndexByte(name, '@'); i >= 0 {
		return name[i+1:]
	}
	return ""
}

func rowsOf[T any](objects map[string]T, show func(name string, object T) row) []row {
	rows := make([]row, 0, len(objects))
	for name, object := range objects {
		r := show(name, object)
		r.name, r.provider = name, providerOf(name)
		if r.search == nil {
			r.search = []string{name}
		}
		rows = append(rows, r)
	}
	return rows
}

func find[T any](objects map[string]T, id string, show func(name string, object T) row) (any, bool) {
	object, ok := objects[id]
	if !ok {
		return nil, false
	}
	return show(id, object).body, true
}

package decode

import (
	"errors"
	"slices"
	"strings"

	"github.com/sluice-edge/sluice/config"
)

// Document decodes a dynamic configuration that did not come as a file: as File would by the
// extension ext, but the Problems name source. The configuration is nil if one of them is more
// than a warning: half a document is not taken.
func Document(source, ext string, data []byte) (*config.Dynamic, []config.Problem) {
	dyn := &config.Dynamic{}
	problems, err := File("document"+ext, data, dyn)
	var de *Error
	switch {
	case errors.As(err, &de):
		problems = append(problems, de.Problems...)
	case err != nil:
		problems = append(problems, config.Problem{Code: config.CodeUnreadable, Severity: config.Error, Text: err.Error()})
	}
	for i := range problems {
		_, place, ok := strings.Cut(problems[i].Source, ":")
		if problems[i].Source = source; ok {
			problems[i].Source += ":" + place
		}
	}
	if slices.ContainsFunc(problems, func(q config.Problem) bool { return q.Severity != config.Warning }) {
		return nil, problems
	}
	return dyn, problems
}

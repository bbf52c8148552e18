package checkpoint

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"github.com/coppice-ml/coppice/internal/pyjson"
	"github.com/coppice-ml/coppice/safetensors"
)

// index is model.safetensors.index.json, or the like: which shard holds which tensor.
type index struct {
	metadata map[string]json.RawMessage
	files    map[string]string // tensor name -> file name
}

// parseIndex reads an index. File names must be plain names of files with the
// extension: an index comes from outside, and must not reach out of its directory.
// Errors are *safetensors.FormatError.
func parseIndex(raw []byte, path, extension string) (*index, error) {
	fail := func(at int64, format string, args ...any) error {
		return &safetensors.FormatError{Path: path, Offset: at, Problem: fmt.Sprintf(format, args...), Remedy: "correct the index, or get it again"}
	}
	var top struct {
		Metadata  map[string]json.RawMessage `json:"metadata"`
		WeightMap json.RawMessage            `json:"weight_map"`
	}
	if err := pyjson.Unmarshal(raw, &top); err != nil {
		return nil, fail(jsonOffset(err), "the index is not valid: %v", err)
	}
	if !utf8.Valid(raw) {
		return nil, fail(0, "the index is not valid UTF-8")
	}
	if len(top.WeightMap) == 0 || top.WeightMap[0] != '{' {
		return nil, fail(0, "the index has no weight_map")
	}
	base := int64(bytes.Index(raw, top.WeightMap))
	x := &index{metadata: top.Metadata, files: make(map[string]string)}
	dec := json.NewDecoder(bytes.NewReader(top.WeightMap))
	if _, err := dec.Token(); err != nil {
		return nil, fail(base, "weight_map: %v", err)
	}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return nil, fail(base+dec.InputOffset(), "weight_map: %v", err)
		}
		name := key.(string)
		value, err := dec.Token()
		if err != nil {
			return nil, fail(base+dec.InputOffset(), "weight_map: %v", err)
		}
		file, ok := value.(string)
		switch _, twice := x.files[name]; {
		case !ok || !plainShard(file, extension):
			return nil, fail(base+dec.InputOffset(), "tensor %q is mapped to %v, which is not the name of a %s file", name, value, extension)
		case twice:
			return nil, fail(base+dec.InputOffset(), "the index names tensor %q twice", name)
		}
		if len(x.files) == maxTensors {
			return nil, fail(base+dec.InputOffset(), "the index lists more tensors than the limit of %d", maxTensors)
		}
		x.files[name] = file
	}
	return x, nil
}

// plainShard refuses anything that could name a file outside the directory, on
// any system.
func plainShard(file, extension string) bool {
	return strings.HasSuffix(file, extension) && filepath.IsLocal(file) && !strings.ContainsAny(file, `/\:`+"\x00")
}

func jsonOffset(err error) int64 {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return syntax.Offset
	case errors.As(err, &kind):
		return kind.Offset
	}
	return 0
}

// encode writes the index the way transformers does: sorted, indented by two.
func (x *index) encode() ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	err := enc.Encode(struct {
		Metadata  map[string]json.RawMessage `json:"metadata"`
		WeightMap map[string]string          `json:"weight_map"`
	}{x.metadata, x.files})
	return b.Bytes(), err
}

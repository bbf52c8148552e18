package safetensors

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf8"
)

const metadataKey = "__metadata__"

// parser walks the header token by token: decoding into a map would silently
// merge duplicate names, and a duplicate is how two tensors hide as one.
type parser struct {
	lexer
	path string
}

func newParser(raw []byte, path string) *parser {
	return &parser{lexer: lexer{raw: raw}, path: path}
}

func (p *parser) fail(tensor, format string, args ...any) error {
	return &FormatError{Path: p.path, Tensor: tensor, Offset: lengthBytes + int64(p.at),
		Problem: fmt.Sprintf(format, args...)}
}

// header parses the whole text. Offsets of the result are those of the header:
// they count from the start of the data.
func (p *parser) header() (*Header, error) {
	if err := p.checkText(); err != nil {
		return nil, err
	}
	h := &Header{}
	seen := make(map[string]bool)
	err := p.object("", func(name string) (err error) {
		if seen[name] {
			return p.fail(name, "the header names it twice")
		}
		seen[name] = true
		if name == metadataKey {
			h.Metadata, err = p.metadata()
			return err
		}
		if len(h.Tensors) == maxTensors {
			return &FormatError{Path: p.path, Offset: lengthBytes + int64(p.at), Remedy: "no model has as many: it is not one",
				Problem: fmt.Sprintf("the header names more tensors than the limit of %d", maxTensors)}
		}
		t, err := p.tensor(name)
		h.Tensors = append(h.Tensors, t)
		return err
	})
	if err != nil {
		return nil, err
	}
	return h, nil
}

// checkText makes sure of everything that the token walk takes for granted.
func (p *parser) checkText() error {
	if p.raw[0] != '{' {
		return p.fail("", "the header does not start with {")
	}
	if !utf8.Valid(p.raw) {
		return p.fail("", "the header is not valid UTF-8")
	}
	if json.Valid(p.raw) {
		return nil
	}
	var raw json.RawMessage
	err := json.Unmarshal(p.raw, &raw)
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		return &FormatError{Path: p.path, Offset: lengthBytes + syntax.Offset, Problem: "the header is not valid JSON: " + err.Error()}
	}
	return p.fail("", "the header is not valid JSON: %v", err)
}

// object calls value with each key; value must consume exactly one value.
func (p *parser) object(tensor string, value func(key string) error) error {
	if err := p.open('{', tensor, "an object"); err != nil {
		return err
	}
	for p.peek() != '}' {
		if err := value(p.next().text()); err != nil {
			return err
		}
	}
	p.next()
	return nil
}

func (p *parser) open(want byte, tensor, what string) error {
	if tok := p.next(); tok[0] != want {
		return p.fail(tensor, "expected %s, found %s", what, tok)
	}
	return nil
}

func (p *parser) metadata() (map[string]string, error) {
	// The reference implementation takes null for no metadata.
	if p.peek() == 'n' {
		p.next()
		return nil, nil
	}
	m := make(map[string]string)
	err := p.object("", func(key string) error {
		tok := p.next()
		if tok[0] != '"' {
			return p.fail("", "metadata %q is not a string", key)
		}
		if _, dup := m[key]; dup {
			return p.fail("", "metadata has %q twice", key)
		}
		m[key] = tok.text()
		return nil
	})
	return m, err
}

func (p *parser) tensor(name string) (Tensor, error) {
	t := Tensor{Name: name}
	var offsets []int64
	var others map[string]bool
	err := p.object(name, func(key string) (err error) {
		var twice bool
		switch key {
		case "dtype":
			twice = t.DType != ""
			t.DType, err = p.dtype(name)
		case "shape":
			twice = t.Shape != nil
			t.Shape, err = p.shape(name)
		case "data_offsets":
			twice = offsets != nil
			offsets, err = p.integers(name, key)
		default:
			twice = others[key]
			if others == nil {
				others = make(map[string]bool)
			}
			others[key] = true
			p.skip()
		}
		if err == nil && twice {
			err = p.fail(name, "it has %q twice", key)
		}
		return err
	})
	switch {
	case err != nil:
		return t, err
	case t.DType == "":
		return t, p.fail(name, `it lacks "dtype"`)
	case t.Shape == nil:
		return t, p.fail(name, `it lacks "shape"`)
	case offsets == nil:
		return t, p.fail(name, `it lacks "data_offsets"`)
	}
	if len(offsets) != 2 {
		return t, p.fail(name, "data_offsets holds %d numbers, not 2", len(offsets))
	}
	if offsets[1] < offsets[0] {
		return t, p.fail(name, "its data ends (%d) before it begins (%d)", offsets[1], offsets[0])
	}
	t.Offset, t.Bytes = offsets[0], offsets[1]-offsets[0]
	return t, nil
}

func (p *parser) dtype(name string) (DType, error) {
	tok := p.next()
	if tok[0] != '"' {
		return "", p.fail(name, "dtype is %s, not a string", tok)
	}
	d := DType(tok.text())
	if d.Bits() == 0 {
		return "", &FormatError{Path: p.path, Tensor: name, Offset: lengthBytes + int64(p.at),
			Problem: fmt.Sprintf("unknown dtype %q", string(d)),
			Remedy:  "convert the checkpoint to BF16, F16 or F32, or look for a newer version of this tool"}
	}
	return d, nil
}

func (p *parser) shape(name string) ([]int, error) {
	ints, err := p.integers(name, "shape")
	shape := make([]int, len(ints))
	for i, n := range ints {
		shape[i] = int(n)
	}
	return shape, err
}

// integers reads an array of integers that are neither negative nor too large.
func (p *parser) integers(name, key string) ([]int64, error) {
	if err := p.open('[', name, "an array for "+key); err != nil {
		return nil, err
	}
	out := make([]int64, 0, 4)
	for p.peek() != ']' {
		tok := p.next()
		if c := tok[0]; c != '-' && (c < '0' || c > '9') {
			return nil, p.fail(name, "%s holds %s, which is not a number", key, tok)
		}
		n, err := strconv.ParseInt(string(tok), 10, 64)
		if err != nil || tok[0] == '-' {
			return nil, p.fail(name, "%s holds %s, which is not a size", key, tok)
		}
		if len(out) == maxDims {
			return nil, p.fail(name, "%s holds more than %d numbers", key, maxDims)
		}
		out = append(out, n)
	}
	p.next()
	return out, nil
}

package safetensors

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

const metadataKey = "__metadata__"

// parser walks the header token by token: decoding into a map would silently
// merge duplicate names, and a duplicate is how two tensors hide as one.
type parser struct {
	raw  []byte
	path string
	dec  *json.Decoder
}

func newParser(raw []byte, path string) *parser {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	return &parser{raw: raw, path: path, dec: dec}
}

func (p *parser) fail(tensor, format string, args ...any) error {
	return &FormatError{Path: p.path, Tensor: tensor, Offset: lengthBytes + p.dec.InputOffset(),
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
		t, err := p.tensor(name)
		h.Tensors = append(h.Tensors, t)
		return err
	})
	if err != nil {
		return nil, err
	}
	return h, nil
}

// checkText makes sure of everything that the token walk would let pass.
func (p *parser) checkText() error {
	if p.raw[0] != '{' {
		return p.fail("", "the header does not start with {")
	}
	if !utf8.Valid(p.raw) {
		return p.fail("", "the header is not valid UTF-8")
	}
	var raw json.RawMessage
	err := json.Unmarshal(p.raw, &raw)
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		return &FormatError{Path: p.path, Offset: lengthBytes + syntax.Offset, Problem: "the header is not valid JSON: " + err.Error()}
	}
	if err != nil {
		return p.fail("", "the header is not valid JSON: %v", err)
	}
	return nil
}

// object calls value with each key; value must consume exactly one value.
func (p *parser) object(tensor string, value func(key string) error) error {
	if err := p.open('{', tensor, "an object"); err != nil {
		return err
	}
	for p.dec.More() {
		key, err := p.dec.Token()
		if err != nil {
			return p.fail(tensor, "%v", err)
		}
		if err := value(key.(string)); err != nil {
			return err
		}
	}
	_, err := p.dec.Token()
	return err
}

func (p *parser) open(want json.Delim, tensor, what string) error {
	tok, err := p.dec.Token()
	if err != nil {
		return p.fail(tensor, "%v", err)
	}
	if tok != want {
		return p.fail(tensor, "expected %s, found %v", what, tok)
	}
	return nil
}

func (p *parser) metadata() (map[string]string, error) {
	if p.null() {
		return nil, nil
	}
	m := make(map[string]string)
	err := p.object("", func(key string) error {
		tok, err := p.dec.Token()
		if err != nil {
			return p.fail("", "%v", err)
		}
		s, ok := tok.(string)
		if !ok {
			return p.fail("", "metadata %q is not a string", key)
		}
		if _, dup := m[key]; dup {
			return p.fail("", "metadata has %q twice", key)
		}
		m[key] = s
		return nil
	})
	return m, err
}

// null consumes a null, which the reference implementation takes for no
// metadata, and leaves anything else in place.
func (p *parser) null() bool {
	rest := bytes.TrimLeft(p.raw[p.dec.InputOffset():], ": \t\r\n")
	if !bytes.HasPrefix(rest, []byte("null")) {
		return false
	}
	_, err := p.dec.Token()
	return err == nil
}

func (p *parser) tensor(name string) (Tensor, error) {
	t := Tensor{Name: name}
	var offsets []int64
	seen := make(map[string]bool, 3)
	err := p.object(name, func(key string) (err error) {
		if seen[key] {
			return p.fail(name, "it has %q twice", key)
		}
		seen[key] = true
		switch key {
		case "dtype":
			t.DType, err = p.dtype(name)
		case "shape":
			t.Shape, err = p.shape(name)
		case "data_offsets":
			offsets, err = p.integers(name, key)
		default:
			err = p.skip()
		}
		return err
	})
	if err != nil {
		return t, err
	}
	for _, key := range []string{"dtype", "shape", "data_offsets"} {
		if !seen[key] {
			return t, p.fail(name, "it lacks %q", key)
		}
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
	tok, err := p.dec.Token()
	if err != nil {
		return "", p.fail(name, "%v", err)
	}
	s, ok := tok.(string)
	if !ok {
		return "", p.fail(name, "dtype is %v, not a string", tok)
	}
	if DType(s).Bits() == 0 {
		return "", &FormatError{Path: p.path, Tensor: name, Offset: lengthBytes + p.dec.InputOffset(),
			Problem: fmt.Sprintf("unknown dtype %q", s),
			Remedy:  "convert the checkpoint to BF16, F16 or F32, or look for a newer version of this tool"}
	}
	return DType(s), nil
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
	var out []int64
	for p.dec.More() {
		tok, err := p.dec.Token()
		if err != nil {
			return nil, p.fail(name, "%v", err)
		}
		num, ok := tok.(json.Number)
		if !ok {
			return nil, p.fail(name, "%s holds %v, which is not a number", key, tok)
		}
		n, err := strconv.ParseInt(num.String(), 10, 64)
		if err != nil || strings.HasPrefix(num.String(), "-") {
			return nil, p.fail(name, "%s holds %s, which is not a size", key, num)
		}
		out = append(out, n)
	}
	_, err := p.dec.Token()
	return out, err
}

// skip passes over one value of a key that the format does not know.
func (p *parser) skip() error {
	var v json.RawMessage
	if err := p.dec.Decode(&v); err != nil {
		return p.fail("", "%v", err)
	}
	return nil
}

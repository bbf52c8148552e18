package pyjson

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestStrict(t *testing.T) {
	for _, c := range []struct{ raw, want string }{
		{`{"a": 1}`, `{"a": 1}`},
		{`{"a": NaN, "b": [Infinity, -Infinity, -1]}`, `{"a": "a", "b": ["nfinit", "Infinit", -1]}`},
		{`{"NaN": "Infinity \" NaN"}`, `{"NaN": "Infinity \" NaN"}`},
		{`{"a\\": NaN}`, `{"a\\": "a"}`},
		{`"never closed NaN`, `"never closed NaN`},
		{``, ``},
	} {
		if got := string(Strict([]byte(c.raw))); got != c.want {
			t.Errorf("Strict(%s) = %s, want %s", c.raw, got, c.want)
		}
	}
	raw := []byte(`[NaN]`)
	Strict(raw)
	if string(raw) != `[NaN]` {
		t.Errorf("the argument became %s", raw)
	}
}

func FuzzStrict(f *testing.F) {
	f.Add([]byte(`{"a": NaN, "b": [Infinity, -Infinity], "c": "NaN\\"}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		out := Strict(raw)
		if len(out) != len(raw) {
			t.Fatalf("%d bytes became %d", len(raw), len(out))
		}
		if json.Valid(raw) && string(out) != string(raw) {
			t.Fatalf("valid text was changed: %q to %q", raw, out)
		}
	})
}

// TestMark: what a byte order mark is, is said.
func TestMark(t *testing.T) {
	for raw, want := range map[string]string{
		"\ufeff{}": "byte order mark", "\xff\xfe{\x00}\x00": "UTF-16", "\xfe\xff\x00{\x00}": "UTF-16", "{\x00}\x00": "UTF-16", "\x00{\x00}": "UTF-16",
	} {
		var into map[string]any
		if err := Unmarshal([]byte(raw), &into); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", raw, err, want)
		}
	}
}

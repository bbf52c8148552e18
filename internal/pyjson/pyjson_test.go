package pyjson

import (
	"encoding/json"
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

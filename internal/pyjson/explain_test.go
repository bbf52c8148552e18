package pyjson

import "testing"

func TestExplain(t *testing.T) {
	var into struct {
		A *int
		B []string
		C map[string]bool
		D bool
	}
	for raw, want := range map[string]string{
		`{"A":"1"}`:        "A is a string, and a number is expected",
		`{"A":1.5}`:        "A is a number 1.5, and a number is expected",
		`{"B":{}}`:         "B is an object, and a list is expected",
		`{"B":[true]}`:     "B is true or false, and a string is expected",
		`{"C":[]}`:         "C is a list, and an object is expected",
		`{"D":"yes"}`:      "D is a string, and true or false is expected",
		`[]`:               "the file is a list, and an object is expected",
		`{"A":1`:           "unexpected end of JSON input",
		`{"A":Infinity}`:   "A is a string, and a number is expected",
		`{"X":[NaN,-1e5]}`: "",
	} {
		got := ""
		if err := Explain(Unmarshal([]byte(raw), &into)); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: %q, want %q", raw, got, want)
		}
	}
}

package stage

import (
	"errors"
	"fmt"
	"io/fs"
	"testing"

	"github.com/coppice-ml/coppice/checkpoint"
	"github.com/coppice-ml/coppice/hub"
)

func flag(field string) string { return "--" + field }

func TestDescribe(t *testing.T) {
	inner := wrong("{length} %d: want at most %d", 9, 8).with("pass {length} %d", 8)
	for _, c := range []struct {
		name            string
		err             error
		message, remedy string
	}{
		{"plain", errors.New("{x} broke"), "{x} broke", ""},
		{"problem", inner, "--length 9: want at most 8", "pass --length 8"},
		{"wrapped", fmt.Errorf("task a: %w", inner), "task a: --length 9: want at most 8", "pass --length 8"},
		{"nested", failed("{out}: %w", inner), "--out: --length 9: want at most 8", ""},
		{"braces of users stay", wrong("{drop} %s: bad", "{keep}"), "--drop {keep}: bad", ""},
		{"a brace that is none", failed("want [{ids} in {here"), "want [--ids in {here", ""},
	} {
		message, remedy := Describe(c.err, flag)
		if message != c.message || remedy != c.remedy {
			t.Errorf("%s: %q, %q; want %q, %q", c.name, message, remedy, c.message, c.remedy)
		}
	}
	if inner.Field != "length" || inner.Error() != "length 9: want at most 8" || !errors.Is(inner, ErrUsage) {
		t.Errorf("%+v", inner)
	}
}

func TestExplain(t *testing.T) {
	for _, c := range []struct {
		name string
		err  error
		want string
		kind error
	}{
		{"exists", fmt.Errorf("dir: %w", checkpoint.ErrExists), "name another --out, or replace it with --force", checkpoint.ErrExists},
		{"its own remedy", failed("x: %w", checkpoint.ErrExists).with("mine"), "mine", checkpoint.ErrExists},
		{"usage without one", wrong("x: %w", fs.ErrPermission), "", ErrUsage},
		{"a problem without one", failed("x: %w", fs.ErrPermission), "check who may read or write there", fs.ErrPermission},
		{"partial pull", fmt.Errorf("x: %w", &hub.Error{Partial: true, Remedy: "again"}), "again", ErrPartial},
		{"unknown", errors.ErrUnsupported, "", errors.ErrUnsupported},
	} {
		err := Explain(c.err)
		if _, remedy := Describe(err, flag); remedy != c.want || !errors.Is(err, c.kind) {
			t.Errorf("%s: remedy %q of %v, want %q", c.name, remedy, err, c.want)
		}
	}
	if Explain(nil) != nil {
		t.Error("an error out of nothing")
	}
}

func TestParseBytes(t *testing.T) {
	for in, want := range map[string]int64{
		"1": 1, "4GiB": 4 << 30, "4gib": 4 << 30, "4G": 4 << 30, "4 GiB": 4 << 30, "1.5k": 1536, "8GB": 8e9, "512MiB": 512 << 20, "100B": 100, "2TiB": 2 << 40,
	} {
		if got, err := parseBytes(in); err != nil || got != want {
			t.Errorf("%q: %d, %v; want %d", in, got, err, want)
		}
	}
	for _, in := range []string{"", "GiB", "-1", "0", "4XiB", "4GiBs", "NaN", "Inf", "1e30", "4 4"} {
		if got, err := parseBytes(in); err == nil {
			t.Errorf("%q: %d, want an error", in, got)
		}
	}
}

func TestEngineCheck(t *testing.T) {
	for field, e := range map[string]Engine{
		"device": {Device: "cuda:x"}, "device_memory": {DeviceMemory: "lots"}, "dtype": {DType: "float8"}, "threads": {Threads: -1}, "memory": {Memory: "4"}, "": {Device: "cuda:1", DType: "bf16", Memory: "4GiB", DeviceMemory: "8GiB"},
	} {
		err := e.Check()
		var p *Problem
		if field == "" {
			if err != nil {
				t.Error(err)
			}
		} else if !errors.As(err, &p) || p.Field != field || !errors.Is(err, ErrUsage) {
			t.Errorf("%+v: %v", e, err)
		}
	}
}

func TestUnescape(t *testing.T) {
	for in, want := range map[string]string{`\n\n`: "\n\n", "": "", " ": " ", "\n": "\n", `\t|\\`: "\t|\\", `"`: `"`, "\r\t": "\r\t", "…": "…"} {
		if got, err := unescape(in); err != nil || got != want {
			t.Errorf("%q: %q, %v; want %q", in, got, err, want)
		}
	}
	if _, err := unescape(`\q`); !errors.Is(err, ErrUsage) {
		t.Errorf("%v, want a usage error", err)
	}
}

package model

import (
	"strings"
	"testing"
)

func TestHealedConfig(t *testing.T) {
	s := &Spec{family: gemma3Wrapped()}
	for _, c := range []struct {
		raw    string
		untied bool
		dtype  string
		want   string
	}{
		{`{"a": 1, "tie_word_embeddings": true, "torch_dtype": "bfloat16"}`, true, "float32", `{"a": 1, "tie_word_embeddings": false, "torch_dtype": "float32"}`},
		{`{"dtype": "bfloat16"}`, false, "float32", `{"dtype": "float32"}`},
		{"{\n  \"a\": 1\n}", true, "", "{\n  \"a\": 1,\n  \"tie_word_embeddings\": false\n}"},
		{`{"a": 1}`, false, "float32", `{"a": 1,"torch_dtype": "float32"}`},
		{`{"a":  1}`, false, "", `{"a":  1}`},
		{`{"text_config": {"tie_word_embeddings": true, "dtype": "bfloat16"}, "dtype": "bfloat16"}`, true, "float32",
			`{"text_config": {"tie_word_embeddings": false, "dtype": "float32"}, "dtype": "float32","tie_word_embeddings": false}`},
	} {
		got, err := s.HealedConfig([]byte(c.raw), c.untied, c.dtype)
		if err != nil || string(got) != c.want {
			t.Errorf("%s: %s, %v; want %s", c.raw, got, err, c.want)
		}
	}
	if _, err := s.HealedConfig([]byte("[]"), true, ""); err == nil || !strings.Contains(err.Error(), "config.json") {
		t.Errorf("a list passes: %v", err)
	}
}

package generate

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestStopTokens(t *testing.T) {
	tests := []struct {
		name, file string
		want       []int
		message    string
	}{
		{"one", `{"eos_token_id": 7}`, []int{2, 7}, ""},
		{"several", `{"eos_token_id": [9, 2, 7]}`, []int{2, 7, 9}, ""},
		{"none", `{"eos_token_id": null}`, []int{2}, ""},
		{"not said", `{}`, []int{2}, ""},
		{"as Python writes it", `{"temperature": NaN, "top_p": Infinity, "eos_token_id": 7}`, []int{2, 7}, ""},
		{"a list", `[7]`, nil, "generation_config.json: not a JSON object"},
		{"damaged", `{"eos_token_id": `, nil, "copy the file again, or remove it"},
		{"a word", `{"eos_token_id": "</s>"}`, nil, `eos_token_id = "</s>": want a token id`},
		{"too large", strings.Repeat(" ", maxConfig+1), nil, "over the limit"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "generation_config.json"), []byte(tt.file), 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := StopTokens(dir, []int{2})
			if tt.message != "" {
				if err == nil || !strings.Contains(err.Error(), tt.message) {
					t.Errorf("error %v, want %s", err, tt.message)
				}
				return
			}
			if err != nil || !slices.Equal(got, tt.want) {
				t.Errorf("%v, %v; want %v", got, err, tt.want)
			}
		})
	}
	if got, err := StopTokens(t.TempDir(), []int{2}); err != nil || !slices.Equal(got, []int{2}) {
		t.Errorf("without a file: %v, %v", got, err)
	}
}

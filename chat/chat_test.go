package chat

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/coppice-ml/coppice/chat/jinja/py"
)

func turns(pairs ...string) []Message {
	var all []Message
	for i := 0; i < len(pairs); i += 2 {
		all = append(all, Message{Role: pairs[i], Content: pairs[i+1]})
	}
	return all
}

func load(t *testing.T, files map[string]string, c Choice) (*Template, error) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return Load(dir, c)
}

func TestBuiltin(t *testing.T) {
	chat := turns("system", "S", "user", "u1", "assistant", "a1", "user", "u2")
	want := map[string]string{
		"chatml":    "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nu1<|im_end|>\n<|im_start|>assistant\na1<|im_end|>\n<|im_start|>user\nu2<|im_end|>\n<|im_start|>assistant\n",
		"vicuna":    "<s>S USER: u1 ASSISTANT: a1</s>USER: u2 ASSISTANT:",
		"chatglm2":  "S\n\n[Round 1]\n\n问：u1\n\n答：a1\n\n[Round 2]\n\n问：u2\n\n答：",
		"chatglm3":  "<|system|>\n S<|user|>\n u1<|assistant|>\n a1<|user|>\n u2<|assistant|>",
		"baichuan2": "S<reserved_106>u1<reserved_107>a1<reserved_106>u2<reserved_107>",
	}
	for _, name := range Builtin() {
		tmpl, err := Load(t.TempDir(), Choice{Name: name, BOS: "<s>", EOS: "</s>"})
		if err != nil {
			t.Fatal(err)
		}
		got, err := tmpl.Render(chat, Options{Prompt: true})
		if err != nil || got != want[name] {
			t.Errorf("%s: %q, %v; want %q", name, got, err, want[name])
		}
		text, spans, err := tmpl.Conversation(chat[:3], Options{})
		if err != nil || len(spans) != 1 || !strings.Contains(text[spans[0].Start:spans[0].End], "a1") || strings.Contains(text[spans[0].Start:spans[0].End], "u1") {
			t.Errorf("%s: %q, spans %v, %v", name, text, spans, err)
		}
	}
	if len(want) != len(Builtin()) {
		t.Errorf("built in: %v", Builtin())
	}
	vicuna, err := Load(t.TempDir(), Choice{Name: "vicuna", BOS: "<s>"})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := vicuna.Render(turns("user", "u"), Options{}); err != nil || !strings.HasPrefix(got, "<s>A chat between a curious user") {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := vicuna.Render(turns("user", "u", "tool", "x"), Options{}); !errors.Is(err, ErrRefused) {
		t.Errorf("a role unknown to the template: %v", err)
	}
}

func TestLoad(t *testing.T) {
	const show = `{{ bos_token }}|{{ eos_token }}|{{ pad_token }}|{{ messages[0].content }}`
	quoted, _ := json.Marshal(show)
	tests := []struct {
		name    string
		files   map[string]string
		choice  Choice
		want    string
		message string
	}{
		{"string", map[string]string{configName: `{"chat_template":` + string(quoted) + `,"bos_token":"<b>","eos_token":{"content":"<e>"},"add_bos_token":true}`}, Choice{BOS: "x"}, "<b>|<e>||u", ""},
		{"tokens of the other file", map[string]string{configName: `{"chat_template":` + string(quoted) + `,"eos_token":null}`, mapName: `{"bos_token":"<b>","eos_token":"<e>","pad_token":{"content":"<p>"}}`}, Choice{EOS: "x"}, "<b>||<p>|u", ""},
		{"tokens of nobody", map[string]string{templateName: show}, Choice{BOS: "<s>", EOS: "</s>"}, "<s>|</s>||u", ""},
		{"file first", map[string]string{templateName: "file", configName: `{"chat_template":"config"}`}, Choice{}, "file", ""},
		{"old file", map[string]string{oldName: `{"chat_template":"old"}`, configName: `{}`}, Choice{}, "old", ""},
		{"named", map[string]string{configName: `{"chat_template":[{"name":"default","template":"d"},{"name":"tool_use","template":"t"}]}`}, Choice{Name: "tool_use"}, "t", ""},
		{"default of several", map[string]string{configName: `{"chat_template":[{"name":"tool_use","template":"t"},{"name":"default","template":"d"}]}`}, Choice{}, "d", ""},
		{"named file", map[string]string{templateName: "d", moreTemplate + "/rag.jinja": "r"}, Choice{Name: "rag"}, "r", ""},
		{"built in, over the checkpoint's", map[string]string{templateName: "d"}, Choice{Name: "baichuan2"}, "<reserved_106>u", ""},
		{"none", nil, Choice{}, "", "no chat template in"},
		{"none by default", map[string]string{configName: `{"chat_template":[{"name":"rag","template":"t"}]}`}, Choice{}, "", "the checkpoint has rag"},
		{"unknown name", map[string]string{templateName: "d"}, Choice{Name: "nosuch"}, "", `chat template "nosuch": no such file`},
		{"wrong kind", map[string]string{configName: `{"chat_template":5}`}, Choice{}, "", "neither a string nor a list"},
		{"broken configuration", map[string]string{configName: `[`}, Choice{}, "", configName},
		{"broken old file", map[string]string{oldName: `[`}, Choice{}, "", oldName},
		{"broken template", map[string]string{templateName: "a\n{{ x"}, Choice{}, "", templateName + ": line 2: {{ without }}"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tmpl, err := load(t, tt.files, tt.choice)
			if tt.message != "" {
				if err == nil || !strings.Contains(err.Error(), tt.message) {
					t.Errorf("error %v, want %q", err, tt.message)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got, err := tmpl.Render(turns("user", "u"), Options{})
			if err != nil || got != tt.want {
				t.Errorf("%q, %v; want %q", got, err, tt.want)
			}
		})
	}
	if _, err := load(t, nil, Choice{}); !errors.Is(err, ErrNone) {
		t.Errorf("%v is not ErrNone", err)
	}
	file := filepath.Join(t.TempDir(), "x.jinja")
	if err := os.WriteFile(file, []byte("from a file"), 0o600); err != nil {
		t.Fatal(err)
	}
	if tmpl, err := load(t, nil, Choice{Name: file}); err != nil || tmpl.Source() != file {
		t.Errorf("a file: %v", err)
	}
}

func TestRenderOptions(t *testing.T) {
	tmpl, err := load(t, map[string]string{templateName: `{{ strftime_now('%d %b %Y') }} {{ tools | tojson if tools else 'no tools' }} {{ add_generation_prompt }}`}, Choice{})
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Now: func() time.Time { return time.Date(2026, 3, 4, 0, 0, 0, 0, time.UTC) }, Tools: json.RawMessage(`[{"z":1,"a":"é"}]`), Prompt: true}
	got, err := tmpl.Render(nil, o)
	if want := `04 Mar 2026 [{"z": 1, "a": "é"}] True`; err != nil || got != want {
		t.Errorf("%q, %v; want %q", got, err, want)
	}
	o.Tools = nil
	if got, err := tmpl.Render(nil, o); err != nil || !strings.Contains(got, "no tools") {
		t.Errorf("%q, %v", got, err)
	}
}

func TestHostileTemplate(t *testing.T) {
	tmpl, err := load(t, map[string]string{templateName: `{% for i in range(1000000000) %}x{% endfor %}`}, Choice{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tmpl.Render(turns("user", "u"), Options{}); !errors.Is(err, py.ErrLimit) || !strings.Contains(err.Error(), templateName) {
		t.Errorf("%v", err)
	}
}

func TestConversationSpans(t *testing.T) {
	chat := turns("user", "u1", "assistant", "a1", "user", "u2", "assistant", "a2")
	tests := []struct {
		name, template string
		want           []string
	}{
		{"by the prompt", `{% for m in messages %}[{{ m.role }}]{{ m.content }};{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}`, []string{"a1;", "a2;"}},
		{"by marks", `{% for m in messages %}[{{ m.role }}]{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{% endgeneration %}{% else %}{{ m.content }}{% endif %};{% endfor %}`, []string{"a1", "a2"}},
		{"something at the end", `{% for m in messages %}{{ m.content }};{% endfor %}`, []string{"a1;", "a2;"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tmpl, err := load(t, map[string]string{templateName: tt.template}, Choice{})
			if err != nil {
				t.Fatal(err)
			}
			text, spans, err := tmpl.Conversation(chat, Options{})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, s := range spans {
				got = append(got, text[s.Start:s.End])
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("%q (-want +got):\n%s", text, diff)
			}
		})
	}
	rewriting, err := load(t, map[string]string{templateName: `{% for m in messages %}{% if loop.last or m.role == 'user' %}{{ m.content }}{% endif %}{% endfor %}`}, Choice{})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := rewriting.Conversation(chat, Options{}); err == nil || !strings.Contains(err.Error(), "message 1: ") {
		t.Errorf("a template that drops earlier answers: %v", err)
	}
}

// pairs of letters are tokens.
func pairs(text string) []int {
	var ids []int
	for i := 0; i < len(text); i += 2 {
		ids = append(ids, int(text[i])*256+int((text + "\x00")[i+1]))
	}
	return ids
}

func at(bounds ...int) []Span {
	var all []Span
	for i := 0; i < len(bounds); i += 2 {
		all = append(all, Span{Start: bounds[i], End: bounds[i+1]})
	}
	return all
}

func TestTokenSpans(t *testing.T) {
	ids, spans := TokenSpans(pairs, "abcdefgh", at(2, 4, 3, 5, 8, 8, 0, 8))
	if len(ids) != 4 {
		t.Fatal(ids)
	}
	if diff := cmp.Diff(at(1, 2, 2, 3, 4, 4, 0, 4), spans); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

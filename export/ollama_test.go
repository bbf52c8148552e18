package export_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"text/template"

	"github.com/coppice-ml/coppice/chat"
	"github.com/coppice-ml/coppice/export"
)

// What ollama makes of the Modelfile's template is what the model's own writes.
func TestOllamaTemplate(t *testing.T) {
	for name, source := range map[string]string{
		"plain":    `{% for m in messages %}<{{ m.role }}>{{ m.content }}</{{ m.role }}>{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}`,
		"chatml":   `{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}`,
		"with BOS": `{{ bos_token }}{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}`,
		"a default system": `{% if messages[0].role != 'system' %}<s>Be good.</s>{% endif %}{% for m in messages %}{% if m.role == 'system' %}<s>{{ m.content }}</s>{% else %}<{{ m.role }}>{{ m.content }}` +
			`</{{ m.role }}>{% endif %}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}`,
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "chat_template.jinja"), []byte(source), 0o644); err != nil {
			t.Fatal(err)
		}
		own, err := chat.Load(dir, chat.Choice{BOS: "<BOS>"})
		if err != nil {
			t.Fatal(err)
		}
		text, err := export.OllamaTemplate(own)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		parsed, err := template.New(name).Parse(text)
		if err != nil {
			t.Fatalf("%s: %v in %s", name, err, text)
		}
		for _, messages := range [][]chat.Message{
			{{Role: "user", Content: "Hi {{ there }}"}},
			{{Role: "system", Content: "Be brief."}, {Role: "user", Content: "Hi"}},
			{{Role: "user", Content: "Hi"}, {Role: "assistant", Content: " Hello\n"}, {Role: "user", Content: "And?"}},
		} {
			want, err := own.Render(messages, chat.Options{Prompt: true})
			if err != nil {
				t.Fatal(err)
			}
			system := ""
			if messages[0].Role == "system" {
				system = messages[0].Content
			}
			var got strings.Builder
			if err := parsed.Execute(&got, map[string]any{"Messages": messages, "System": system}); err != nil {
				t.Fatal(err)
			}
			if want = strings.TrimPrefix(want, "<BOS>"); got.String() != want {
				t.Errorf("%s: %q, want %q", name, got.String(), want)
			}
		}
	}
}

// A template that says more than what stands around messages is left to ollama.
func TestOllamaTemplateRefused(t *testing.T) {
	dir := t.TempDir()
	source := `{% for m in messages %}{{ loop.index }}{{ m.content }}{% endfor %}`
	if err := os.WriteFile(filepath.Join(dir, "chat_template.jinja"), []byte(source), 0o644); err != nil {
		t.Fatal(err)
	}
	own, err := chat.Load(dir, chat.Choice{})
	if err != nil {
		t.Fatal(err)
	}
	if text, err := export.OllamaTemplate(own); err == nil {
		t.Errorf("written: %s", text)
	}
}

func TestModelfile(t *testing.T) {
	got := export.Modelfile{From: "./m.gguf", Template: "{{ .Prompt }}", Stop: []string{"</s>", `"`}, Context: 131072}.String()
	want := "FROM ./m.gguf\nTEMPLATE \"\"\"{{ .Prompt }}\"\"\"\nPARAMETER num_ctx 8192\nPARAMETER stop \"</s>\"\nPARAMETER stop \"\\\"\"\n"
	if got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

package chat

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/coppice-ml/coppice/chat/jinja"
	"github.com/coppice-ml/coppice/internal/mmap"
	"github.com/coppice-ml/coppice/internal/pyjson"
)

const (
	configName   = "tokenizer_config.json"
	mapName      = "special_tokens_map.json"
	templateName = "chat_template.jinja"
	moreTemplate = "additional_chat_templates"
	oldName      = "chat_template.json"

	maxFile = 64 << 20
)

//go:embed templates/*.jinja
var builtin embed.FS

// Builtin lists the templates of models that are published without one.
func Builtin() []string {
	entries, err := builtin.ReadDir("templates")
	if err != nil {
		return nil
	}
	var names []string
	for _, e := range entries {
		names = append(names, strings.TrimSuffix(e.Name(), ".jinja"))
	}
	return names
}

// Choice says which template is wanted, and what stands in for tokens that no file names.
type Choice struct {
	// Name is "" for the checkpoint's default template; else a named one of it, a built-in one (see Builtin),
	// or a file.
	Name     string
	BOS, EOS string
}

// Load finds the template of a checkpoint directory, and the special tokens that templates write. As in
// transformers, chat_template.jinja comes before tokenizer_config.json. A directory without a template gives an
// error that wraps ErrNone.
func Load(dir string, c Choice) (*Template, error) {
	conf, err := readConfig(dir)
	if err != nil {
		return nil, err
	}
	t := &Template{tokens: conf.tokens(c)}
	source, err := t.find(dir, conf, c.Name)
	if err != nil {
		return nil, err
	}
	if !utf8.ValidString(source) {
		return nil, fmt.Errorf("%s: not a text in UTF-8; save it as UTF-8, or get it again", t.source)
	}
	t.text = source
	t.hash = fmt.Sprintf("%x", sha256.Sum256([]byte(source)))
	if t.jinja, err = jinja.Parse(source); err != nil {
		return nil, fmt.Errorf("%s: %w", t.source, err)
	}
	return t, nil
}

// find returns the text of a template and notes where it is from.
func (t *Template) find(dir string, conf *config, name string) (string, error) {
	own, err := conf.templates(dir)
	if err != nil {
		return "", err
	}
	want := name
	if want == "" {
		want = "default"
	}
	for _, one := range own {
		if one.Name == want {
			t.source = one.from
			return one.Template, nil
		}
	}
	if name == "" {
		return "", fmt.Errorf("%w in %s: name a .jinja file or a built-in one: %s%s", ErrNone, dir, strings.Join(Builtin(), ", "), others(own))
	}
	if slices.Contains(Builtin(), name) {
		t.source = "built-in template " + name
		data, err := builtin.ReadFile("templates/" + name + ".jinja")
		return string(data), err
	}
	data, err := readNamed(name)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("chat template %q: no such file, none of that name in %s, and built in are %s%s", name, dir, strings.Join(Builtin(), ", "), others(own))
	}
	t.source = name
	return string(data), err
}

func others(own []named) string {
	if len(own) == 0 {
		return ""
	}
	var names []string
	for _, one := range own {
		names = append(names, one.Name)
	}
	return "; the checkpoint has " + strings.Join(names, ", ")
}

// named is one of several templates.
type named struct {
	Name     string `json:"name"`
	Template string `json:"template"`
	from     string
}

// config is tokenizer_config.json, and special_tokens_map.json beneath it.
type config struct {
	fields map[string]json.RawMessage
	path   string
}

func readConfig(dir string) (*config, error) {
	c := &config{fields: make(map[string]json.RawMessage), path: filepath.Join(dir, configName)}
	for _, name := range []string{mapName, configName} {
		path := filepath.Join(dir, name)
		data, err := read(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if err := pyjson.Explain(pyjson.Unmarshal(data, &c.fields)); err != nil {
			return nil, fmt.Errorf("%s: not a JSON object: %w; copy the file again", path, err)
		}
	}
	return c, nil
}

// tokens are the special tokens by the names templates know them under.
func (c *config) tokens(choice Choice) map[string]any {
	all := make(map[string]any)
	for name, raw := range c.fields {
		if !strings.HasSuffix(name, "_token") || strings.HasPrefix(name, "add_") {
			continue
		}
		var text string
		var object struct{ Content *string }
		switch {
		case string(raw) == "null":
		case json.Unmarshal(raw, &text) == nil:
			all[name] = text
		case json.Unmarshal(raw, &object) == nil && object.Content != nil:
			all[name] = *object.Content
		}
	}
	for name, text := range map[string]string{"bos_token": choice.BOS, "eos_token": choice.EOS} {
		if _, said := c.fields[name]; !said && text != "" {
			all[name] = text
		}
	}
	return all
}

// templates lists those of the checkpoint; the first of a name counts.
func (c *config) templates(dir string) ([]named, error) {
	all, err := templateFiles(dir)
	if err != nil {
		return nil, err
	}
	old, err := oldTemplate(filepath.Join(dir, oldName))
	if err != nil {
		return nil, err
	}
	some, err := parseTemplates(c.path, c.fields["chat_template"])
	return slices.Concat(all, old, some), err
}

// templateFiles reads chat_template.jinja and the named ones in a folder beside it.
func templateFiles(dir string) ([]named, error) {
	paths := map[string]string{"default": filepath.Join(dir, templateName)}
	more, err := os.ReadDir(filepath.Join(dir, moreTemplate))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, e := range more {
		if name, ok := strings.CutSuffix(e.Name(), ".jinja"); ok && name != "default" {
			paths[name] = filepath.Join(dir, moreTemplate, e.Name())
		}
	}
	var all []named
	for name, path := range paths {
		data, err := read(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		all = append(all, named{name, string(data), path})
	}
	slices.SortFunc(all, func(a, b named) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// oldTemplate reads chat_template.json, which some checkpoints have in place of the others.
func oldTemplate(path string) ([]named, error) {
	data, err := read(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var file struct {
		Template json.RawMessage `json:"chat_template"`
	}
	if err := pyjson.Explain(pyjson.Unmarshal(data, &file)); err != nil {
		return nil, fmt.Errorf("%s: not a JSON object: %w; copy the file again or remove it", path, err)
	}
	return parseTemplates(path, file.Template)
}

// parseTemplates reads a template, or a list of named ones.
func parseTemplates(path string, raw json.RawMessage) ([]named, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return nil, nil
	}
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return []named{{"default", text, path}}, nil
	}
	var list []named
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, fmt.Errorf("%s: chat_template is neither a string nor a list of names and templates: correct it or copy the file again", path)
	}
	for i := range list {
		list[i].from = fmt.Sprintf("%s: chat_template %s", path, list[i].Name)
	}
	return list, nil
}

// read reads a file of a checkpoint.
func read(path string) ([]byte, error) {
	data, err := mmap.ReadRegular(path, maxFile)
	if err != nil {
		return nil, err
	}
	return data, pointer(path, data)
}

// readNamed reads a file that the caller named, which may be a pipe.
func readNamed(path string) ([]byte, error) {
	f, _, err := mmap.OpenNamed(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("%s: more than the %d bytes of any template: name the template's file", path, maxFile)
	}
	return data, pointer(path, data)
}

func pointer(path string, data []byte) error {
	if bytes.HasPrefix(data, []byte("version https://git-lfs")) {
		return fmt.Errorf("%s: it is a Git LFS pointer: fetch the file with `git lfs pull`", path)
	}
	return nil
}

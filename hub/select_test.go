package hub_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/coppice-ml/coppice/hub"
)

func TestModelFiles(t *testing.T) {
	for _, c := range []struct {
		name, files string
		need        hub.Need
		want        string
	}{
		{"both forms, one file", "config.json model.safetensors pytorch_model.bin tf_model.h5 flax_model.msgpack", hub.NeedAll, "config.json model.safetensors"},
		{"shards, and the same once more", "config.json consolidated.safetensors model-00001-of-00002.safetensors model-00002-of-00002.safetensors model.safetensors.index.json pytorch_model-00001-of-00001.bin pytorch_model.bin.index.json",
			hub.NeedAll, "config.json model-00001-of-00002.safetensors model-00002-of-00002.safetensors model.safetensors.index.json"},
		{"one file and shards", "model-00001-of-00001.safetensors model.safetensors model.safetensors.index.json", hub.NeedAll, "model.safetensors"},
		{"bin only", "config.json pytorch_model-00001-of-00002.bin pytorch_model-00002-of-00002.bin pytorch_model.bin.index.json training_args.bin",
			hub.NeedAll, "config.json pytorch_model-00001-of-00002.bin pytorch_model-00002-of-00002.bin pytorch_model.bin.index.json"},
		{"what comes along", ".gitattributes LICENSE README.md USE_POLICY.md chat_template.jinja config.json generation_config.json ice_text.model logo.png merges.txt model.fp16.safetensors model.safetensors modeling_chatglm.py onnx/model.onnx original/consolidated.00.pth special_tokens_map.json tokenizer.json tokenizer.model tokenizer_config.json vocab.json",
			hub.NeedAll, "LICENSE README.md USE_POLICY.md chat_template.jinja config.json generation_config.json ice_text.model merges.txt model.safetensors modeling_chatglm.py special_tokens_map.json tokenizer.json tokenizer.model tokenizer_config.json vocab.json"},
		{"config", "config.json model.safetensors tokenizer.json", hub.NeedConfig, "config.json"},
		{"tokenizer", "config.json model.safetensors tokenizer.json tokenizer.model README.md", hub.NeedTokenizer, "config.json tokenizer.json tokenizer.model"},
		{"nothing of a model", "adapter_model.safetensors data.csv", hub.NeedAll, ""},
	} {
		var files []hub.File
		for _, name := range strings.Fields(c.files) {
			files = append(files, hub.File{Name: name})
		}
		if diff := cmp.Diff(c.want, strings.Join(hub.ModelFiles(files, c.need), " ")); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
}

func TestMatch(t *testing.T) {
	names := strings.Fields("README.md a.json data/b.json data/c.csv data/deep/d.csv")
	for _, c := range []struct{ include, exclude, want string }{
		{"", "", "README.md a.json data/b.json data/c.csv data/deep/d.csv"},
		{"*.json", "", "a.json data/b.json"},
		{"data/", "", "data/b.json data/c.csv data/deep/d.csv"},
		{"data/* *.md", "*.csv", "README.md data/b.json"},
		{"?.json", "", "a.json"},
		{"a.json", "", "a.json"},
		{"a+json [", "", ""},
		{"", "*", ""},
	} {
		got := hub.Match(names, strings.Fields(c.include), strings.Fields(c.exclude))
		if diff := cmp.Diff(c.want, strings.Join(got, " ")); diff != "" {
			t.Errorf("include %q, exclude %q: %s", c.include, c.exclude, diff)
		}
	}
}

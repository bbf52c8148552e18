package checkpoint

import (
	"cmp"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Role says what a file of the directory is for.
type Role string

// The roles of files.
const (
	RoleWeights   Role = "weights"
	RoleConfig    Role = "config"
	RoleTokenizer Role = "tokenizer"
	RoleOther     Role = "other"
)

// FileInfo is one file of the directory. Name is relative to it, with slashes.
type FileInfo struct {
	Name string
	Size int64
	Role Role
}

const (
	configName = "config.json"
	cardName   = "README.md"
	// originalCard keeps the source's card where ours takes its name.
	originalCard = "README.original.md"
	// templateDir is the one folder of a checkpoint that transformers reads.
	templateDir = "additional_chat_templates"
	// maxText keeps data sets and logs that happen to lie in the directory out.
	maxText = 32 << 20
)

// rule says what a file is by its name, in lower case, and whether a changed
// copy of the checkpoint carries it along.
type rule struct {
	pattern string
	role    Role
	carry   bool
	maxSize int64 // 0: any
}

// rules is read from the top; the first match counts, and a file that matches
// nothing stays behind.
func rules() []rule {
	return []rule{
		// Written anew, so never carried.
		{"config.json", RoleConfig, false, 0},
		{"model.safetensors.index.json", RoleConfig, false, 0},
		{"pytorch_model.bin.index.json", RoleConfig, false, 0},

		// The original's weights in any form, and what describes them. They
		// would still hold the layers that the copy leaves out.
		{"*.safetensors", RoleOther, false, 0},
		{"*.bin", RoleOther, false, 0},
		{"*.pth", RoleOther, false, 0},
		{"*.pt", RoleOther, false, 0},
		{"*.gguf", RoleOther, false, 0},
		{"*.ggml", RoleOther, false, 0},
		{"*.h5", RoleOther, false, 0},
		{"*.msgpack", RoleOther, false, 0},
		{"*.onnx*", RoleOther, false, 0},
		{"*.ckpt*", RoleOther, false, 0},
		{"*.npz", RoleOther, false, 0},
		{"*.index.json", RoleOther, false, 0},
		{"consolidated*", RoleOther, false, 0},
		{"params.json", RoleOther, false, 0},
		{".*", RoleOther, false, 0},

		// What describes the original, or how it was trained, and not the copy.
		{"adapter_*", RoleOther, false, 0},
		{"*_results.json", RoleOther, false, 0},
		{"results*.json", RoleOther, false, 0},
		{"trainer_state.json", RoleOther, false, 0},
		{"training_args*", RoleOther, false, 0},
		{"optimizer*", RoleOther, false, 0},
		{"scheduler*", RoleOther, false, 0},
		{"rng_state*", RoleOther, false, 0},
		{"zero_to_fp32.py", RoleOther, false, 0},

		{"tokenizer.json", RoleTokenizer, true, 0},
		{"tokenizer.model*", RoleTokenizer, true, 0},
		{"tokenizer_config.json", RoleTokenizer, true, 0},
		{"special_tokens_map.json", RoleTokenizer, true, 0},
		{"added_tokens.json", RoleTokenizer, true, 0},
		{"vocab.json", RoleTokenizer, true, 0},
		{"vocab.txt", RoleTokenizer, true, 0},
		{"merges.txt", RoleTokenizer, true, 0},
		{"tekken.json", RoleTokenizer, true, 0},
		{"*.tiktoken", RoleTokenizer, true, 0},
		{"*.model", RoleTokenizer, true, 0},
		{"chat_template.*", RoleTokenizer, true, 0},
		{templateDir + "/*.jinja", RoleTokenizer, true, 0},

		{"generation_config.json", RoleConfig, true, 0},
		{"preprocessor_config.json", RoleConfig, true, 0},
		{"processor_config.json", RoleConfig, true, 0},
		{"license*", RoleOther, true, 0},
		{"licence*", RoleOther, true, 0},
		{"notice*", RoleOther, true, 0},
		{"copying*", RoleOther, true, 0},
		{"use_policy*", RoleOther, true, 0},
		{"*.py", RoleOther, true, 0},
		{"*.json", RoleOther, true, maxText},
		{"*.txt", RoleOther, true, maxText},
		{"*.md", RoleOther, true, maxText},
		{"*.jinja", RoleOther, true, maxText},
	}
}

// ruleFor returns the rule of a file name, if there is one.
func ruleFor(name string) (rule, bool) {
	lower := strings.ToLower(name)
	for _, r := range rules() {
		if ok, _ := path.Match(r.pattern, lower); ok {
			return r, true
		}
	}
	return rule{role: RoleOther}, false
}

// carried says whether a changed copy takes the file along.
func (f FileInfo) carried() bool {
	r, _ := ruleFor(f.Name)
	return f.Role != RoleWeights && r.carry && (r.maxSize == 0 || f.Size <= r.maxSize)
}

// listFiles lists the directory and the template folder. Links are followed:
// the hub's cache is made of them. A link to nowhere is left out here; a weight
// file that is one has been reported by then.
func listFiles(dir string) []FileInfo {
	var files []FileInfo
	for _, sub := range []string{"", templateDir} {
		entries, err := os.ReadDir(filepath.Join(dir, sub))
		if err != nil {
			continue
		}
		for _, e := range entries {
			info, err := os.Stat(filepath.Join(dir, sub, e.Name()))
			if err != nil || !info.Mode().IsRegular() {
				continue
			}
			name := path.Join(sub, e.Name())
			r, _ := ruleFor(name)
			files = append(files, FileInfo{Name: name, Size: info.Size(), Role: r.role})
		}
	}
	slices.SortFunc(files, func(a, b FileInfo) int { return cmp.Compare(a.Name, b.Name) })
	return files
}

// present says whether the directory has an entry of this name, be it a link
// to nowhere.
func present(dir, name string) bool {
	_, err := os.Lstat(filepath.Join(dir, name))
	return err == nil
}

// matching returns the entries of a directory that match a pattern.
func matching(dir, pattern string) []string {
	names, err := fs.Glob(os.DirFS(dir), pattern)
	if err != nil {
		return nil
	}
	return names
}

package tokenizer

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
)

const (
	vocabName  = "vocab.json"
	mergesName = "merges.txt"
	endOfText  = "<|endoftext|>"
)

// loadPair reads vocab.json and merges.txt, which GPT-2's and Qwen2's tokenizers are saved as besides
// tokenizer.json; the rest of the pipeline is in the code of the class.
func loadPair(dir string, cfg config) (*Tokenizer, error) {
	path := filepath.Join(dir, vocabName)
	vocab, err := readFile(path)
	if err != nil {
		return nil, err
	}
	if !json.Valid(vocab) {
		return nil, &FormatError{path, errors.New("not JSON: copy the file again")}
	}
	merges, err := readFile(filepath.Join(dir, mergesName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &FormatError{path, fmt.Errorf("there is no %s beside it: copy that too, or %s", mergesName, jsonName)}
	}
	if err != nil {
		return nil, err
	}
	f, err := pairFile(&cfg)
	if err != nil {
		return nil, &FormatError{path, err}
	}
	f.Model = jsonModel{Type: "BPE", Vocab: vocab, Merges: mergeLines(string(merges))}
	t, err := f.build(cfg)
	if err == nil && cfg.AddBOS != nil && *cfg.AddBOS {
		err = t.surround(cfg, true)
	}
	if err != nil {
		return nil, &FormatError{path, err}
	}
	return t, nil
}

// mergeLines makes a merges.txt the list that a tokenizer.json has. Its head line may say "#version: 0.2".
func mergeLines(text string) json.RawMessage {
	lines := []string{}
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimRight(line, "\r")
		if line != "" && !(i == 0 && strings.HasPrefix(line, "#version")) {
			lines = append(lines, line)
		}
	}
	list, err := json.Marshal(lines)
	if err != nil {
		return nil
	}
	return list
}

// pairFile is the pipeline of the class, with the special tokens that it names by itself.
func pairFile(cfg *config) (*jsonFile, error) {
	class := strings.TrimSuffix(cfg.Class, "Fast")
	if class == "" || class == "PreTrainedTokenizer" {
		class = "GPT2Tokenizer"
		if strings.HasPrefix(cfg.modelType, "qwen2") || strings.HasPrefix(cfg.modelType, "qwen3") {
			class = "Qwen2Tokenizer"
		}
	}
	byteLevel := json.RawMessage(`{"type":"ByteLevel"}`)
	switch class {
	case "GPT2Tokenizer", "CodeGenTokenizer", "GPTNeoXTokenizer":
		for _, name := range []*tokenName{&cfg.BOS, &cfg.EOS, &cfg.Unk} {
			if !name.set {
				*name = named(endOfText)
			}
		}
		pre := byteLevel
		if cfg.Prefix != nil && *cfg.Prefix {
			pre = json.RawMessage(`{"type":"ByteLevel","add_prefix_space":true}`)
		}
		return &jsonFile{PreTokenizer: pre, PostProcessor: byteLevel, Decoder: byteLevel}, nil
	case "Qwen2Tokenizer":
		for _, name := range []*tokenName{&cfg.EOS, &cfg.Unk} {
			if !name.set {
				*name = named(endOfText)
			}
		}
		pattern, err := json.Marshal(patternQwen2)
		return &jsonFile{
			Normalizer: json.RawMessage(`{"type":"NFC"}`),
			PreTokenizer: json.RawMessage(`{"type":"Sequence","pretokenizers":[{"type":"Split","behavior":"Isolated","pattern":{"Regex":` + string(pattern) +
				`}},{"type":"ByteLevel","use_regex":false}]}`),
			PostProcessor: byteLevel, Decoder: byteLevel,
		}, err
	}
	return nil, unsupported("tokenizer_class", fmt.Sprintf("%q with %s and %s", cfg.Class, vocabName, mergesName), "GPT2Tokenizer", "CodeGenTokenizer", "GPTNeoXTokenizer", "Qwen2Tokenizer")
}

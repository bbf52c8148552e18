package tokenizer

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

const (
	jsonName   = "tokenizer.json"
	modelName  = "tokenizer.model"
	qwenName   = "qwen.tiktoken"
	tekkenName = "tekken.json"
	configName = "tokenizer_config.json"
	mapName    = "special_tokens_map.json"
	addedName  = "added_tokens.json"
	checkpoint = "config.json"
)

// Load reads the tokenizer of a checkpoint directory: the first that is there of tokenizer.json, tokenizer.model
// (SentencePiece's or tiktoken's), qwen.tiktoken, tekken.json, and vocab.json with merges.txt, one of a kind not supported
// standing back for the others. The configuration beside it (tokenizer_config.json, special_tokens_map.json,
// added_tokens.json) names BOS and EOS, adds to the added tokens, and decides what is put around a text where
// transformers lets it: for a tokenizer.model (without it: BOS yes, EOS no) and, with a tokenizer.json, for the
// classes that build the template themselves (Llama's, Gemma's, …). ChatGLM, known by tokenizer_config.json or
// config.json, puts [gMASK] sop before a text. A directory with no such file gives an error that wraps ErrNone.
func Load(dir string) (*Tokenizer, error) {
	cfg, err := loadConfig(dir)
	if err != nil {
		return nil, err
	}
	var refused error
	for _, name := range []string{jsonName, modelName, qwenName, tekkenName, vocabName} {
		t, err := loadFile(filepath.Join(dir, name), cfg)
		switch {
		case err == nil:
			return t, nil
		case errors.Is(err, fs.ErrNotExist):
		case errors.Is(err, ErrUnsupported) && name == jsonName:
			refused = err
		default:
			return nil, err
		}
	}
	if refused != nil {
		return nil, refused
	}
	return nil, fmt.Errorf("%w in %s: copy %s or %s from the original checkpoint", ErrNone, dir, jsonName, modelName)
}

// LoadFile reads one tokenizer file, *.json, *.model or *.tiktoken (or vocab.json with its merges.txt), and nothing
// beside it: no tokenizer_config.json.
func LoadFile(path string) (*Tokenizer, error) {
	return loadFile(path, config{})
}

func loadFile(path string, cfg config) (*Tokenizer, error) {
	var parse func([]byte, config) (*Tokenizer, error)
	switch {
	case filepath.Base(path) == vocabName:
		return loadPair(filepath.Dir(path), cfg)
	case filepath.Base(path) == tekkenName:
		parse = parseTekken
	case strings.HasSuffix(path, ".tiktoken"):
		parse = func(data []byte, cfg config) (*Tokenizer, error) { return parseTiktoken(data, cfg, qwenRules()) }
	case strings.HasSuffix(path, ".json"):
		parse = parseJSON
	case strings.HasSuffix(path, ".model"):
		parse = parseModel
	default:
		return nil, &FormatError{path, errors.New("unknown kind of tokenizer file: name a *.json or a *.model file")}
	}
	data, err := readFile(path)
	if err != nil {
		return nil, err
	}
	t, err := parse(data, cfg)
	if err != nil {
		return nil, &FormatError{path, err}
	}
	return t, nil
}

// parseModel reads either form of a tokenizer.model.
func parseModel(data []byte, cfg config) (*Tokenizer, error) {
	if !isTiktoken(data) {
		return parseSentencePiece(data, cfg)
	}
	rules, err := modelRules(cfg)
	if err != nil {
		return nil, err
	}
	return parseTiktoken(data, cfg, rules)
}

// bound is the most that is read of a file.
func bound(path string) int64 {
	switch filepath.Base(path) {
	case configName, mapName, addedName, checkpoint:
		return maxConfig
	}
	return maxFile
}

func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read tokenizer: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, &FormatError{path, errors.New("not a regular file: put the file itself there")}
	}
	if most := bound(path); info.Size() > most {
		return nil, &FormatError{path, fmt.Errorf("%d bytes is no tokenizer file: at most %d are read", info.Size(), most)}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read tokenizer: %w", err)
	}
	if what := notTokenizer(data); what != "" {
		return nil, &FormatError{path, errors.New(what)}
	}
	return data, nil
}

// notTokenizer says what lies where a tokenizer's file should, and what helps.
func notTokenizer(data []byte) string {
	head := bytes.ToLower(bytes.TrimSpace(data[:min(len(data), 256)]))
	switch {
	case bytes.HasPrefix(head, []byte("version https://git-lfs")):
		return "it is a Git LFS pointer: fetch the file with `git lfs pull`"
	case bytes.HasPrefix(head, []byte("<!doctype")), bytes.HasPrefix(head, []byte("<html")):
		return "it is a web page, often a login or error page: download the file itself"
	}
	return ""
}

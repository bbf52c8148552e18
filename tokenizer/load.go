package tokenizer

import (
	"bytes"
	"encoding/json"
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
	configName = "tokenizer_config.json"

	// maxFile bounds what is read into memory; the largest published tokenizer is below 40 MB.
	maxFile = 512 << 20
	// maxID bounds the tables indexed by id, so that a damaged file cannot ask for gigabytes.
	maxID = 1 << 24
	// maxToken bounds one token in bytes; published ones stay below 1000.
	maxToken = 4096
)

// Load reads the tokenizer of a checkpoint directory: tokenizer.json, or tokenizer.model where the former is
// absent or of a kind not supported. tokenizer_config.json, where present, names BOS and EOS and, for a
// tokenizer.model, decides whether they are added (without it: BOS yes, EOS no). A directory with neither
// file gives an error that wraps ErrNone.
func Load(dir string) (*Tokenizer, error) {
	cfg, err := loadConfig(filepath.Join(dir, configName))
	if err != nil {
		return nil, err
	}
	t, err := loadFile(filepath.Join(dir, jsonName), cfg)
	if err == nil || !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, ErrUnsupported) {
		return t, err
	}
	t, modelErr := loadFile(filepath.Join(dir, modelName), cfg)
	switch {
	case modelErr == nil || !errors.Is(modelErr, fs.ErrNotExist):
		return t, modelErr
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	return nil, fmt.Errorf("%w in %s: copy %s or %s from the original checkpoint", ErrNone, dir, jsonName, modelName)
}

// LoadFile reads one tokenizer file, *.json or *.model, and nothing beside it: no tokenizer_config.json.
func LoadFile(path string) (*Tokenizer, error) {
	return loadFile(path, config{})
}

func loadFile(path string, cfg config) (*Tokenizer, error) {
	var parse func([]byte, config) (*Tokenizer, error)
	switch {
	case strings.HasSuffix(path, ".json"):
		parse = parseJSON
	case strings.HasSuffix(path, ".model"):
		parse = parseSentencePiece
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

func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read tokenizer: %w", err)
	}
	if info.Size() > maxFile {
		return nil, &FormatError{path, fmt.Errorf("%d bytes is no tokenizer file: at most %d are read", info.Size(), maxFile)}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read tokenizer: %w", err)
	}
	return data, nil
}

// config is what tokenizer_config.json says; the zero value says nothing.
type config struct {
	AddBOS *bool     `json:"add_bos_token"`
	AddEOS *bool     `json:"add_eos_token"`
	BOS    tokenName `json:"bos_token"`
	EOS    tokenName `json:"eos_token"`
}

// tokenName is a token given as a string, as an object with the string in content, or as null for "none".
type tokenName struct {
	set  bool
	text string
}

func (n *tokenName) UnmarshalJSON(data []byte) error {
	n.set = true
	if bytes.Equal(data, []byte("null")) {
		return nil
	}
	if data[0] != '{' {
		return json.Unmarshal(data, &n.text)
	}
	var object struct {
		Content string `json:"content"`
	}
	err := json.Unmarshal(data, &object)
	n.text = object.Content
	return err
}

func loadConfig(path string) (config, error) {
	var cfg config
	data, err := readFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return cfg, nil
	}
	if err != nil {
		return cfg, err
	}
	if err := json.Unmarshal(data, &cfg); err != nil {
		return cfg, &FormatError{path, fmt.Errorf("not a tokenizer configuration: %w; copy the file again or remove it", err)}
	}
	return cfg, nil
}

// name resolves a token the configuration names; fallback is used where it says nothing.
func (t *Tokenizer) name(n tokenName, fallback int) int {
	if !n.set {
		return fallback
	}
	if n.text == "" {
		return -1
	}
	id, ok := t.lookup(n.text)
	if !ok {
		return -1
	}
	return id
}

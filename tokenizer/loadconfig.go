package tokenizer

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/coppice-ml/coppice/internal/pyjson"
)

const chatGLM = "ChatGLMTokenizer"

// loadConfig reads tokenizer_config.json and what older checkpoints have beside it: special_tokens_map.json and
// added_tokens.json count where the former has no added_tokens_decoder, as in transformers. The class that it
// does not name is taken from the model_type of ChatGLM's config.json, the one family whose tokenizer.model does
// not say what comes before a text.
func loadConfig(dir string) (config, error) {
	var cfg config
	if err := readOptional(dir, configName, &cfg, &cfg.specialNames); err != nil {
		return cfg, err
	}
	if cfg.Added == nil {
		if err := cfg.older(dir); err != nil {
			return cfg, err
		}
	}
	return cfg, cfg.look(dir)
}

// older reads the two files that name tokens where added_tokens_decoder does not.
func (c *config) older(dir string) error {
	var names specialNames
	if err := readOptional(dir, mapName, &names); err != nil {
		return err
	}
	c.take(&names)
	var listed map[string]looseID
	if err := readOptional(dir, addedName, &listed); err != nil {
		return err
	}
	c.listed = make(map[string]int, len(listed))
	for text, id := range listed {
		c.listed[text] = int(id)
	}
	return nil
}

// look reads what other files say of the tokenizer.
func (c *config) look(dir string) error {
	var model struct {
		Type string `json:"model_type"`
	}
	data, err := readFile(filepath.Join(dir, checkpoint))
	if err == nil && pyjson.Unmarshal(data, &model) == nil {
		c.modelType = model.Type
	}
	if c.Class == "" && c.modelType == "chatglm" {
		c.Class = chatGLM
	}
	if c.Class != chatGLM {
		return nil
	}
	code, err := readFile(filepath.Join(dir, "tokenization_chatglm.py"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	c.roles = bytes.Contains(code, []byte(roleUser))
	for _, tok := range c.Added {
		c.roles = c.roles || tok.Content == roleUser
	}
	return nil
}

// readOptional reads a JSON file of the directory that need not be there.
func readOptional(dir, name string, into ...any) error {
	path := filepath.Join(dir, name)
	data, err := readFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, part := range into {
		if err := readJSON(data, part); err != nil {
			return &FormatError{path, fmt.Errorf("not a tokenizer configuration: %w; copy the file again or remove it", err)}
		}
	}
	return nil
}

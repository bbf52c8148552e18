package run

import (
	"fmt"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/coppice-ml/coppice/stage"
)

// lifeKeys are the keys of training that change nothing of its result.
func lifeKeys() []string {
	return []string{"tensorboard", "save_every", "save_interval", "keep_checkpoints"}
}

// checkHeal finds what is wrong with training before anything is opened, and keys that
// its method does not use.
func checkHeal(v stage.Heal, t Trial) error {
	v.Out = "."
	if err := v.Check(); err != nil {
		return blamed("heal", err)
	}
	for _, u := range v.Unused() {
		if value(value(t.node, "heal"), u.Field) != nil {
			return &Error{What: fmt.Sprintf("heal.%s: %s", u.Field, u.Why), Remedy: "leave it out"}
		}
	}
	return nil
}

// blamed names the fields that a stage's error blames as they are called below a key of the
// recipe.
func blamed(key string, err error) error {
	if err == nil {
		return nil
	}
	message, remedy := stage.Describe(err, func(field string) string { return key + "." + field })
	return &Error{What: message, Remedy: remedy}
}

// healInputs are all that training depends on: the keys of its method, and its data.
func (w *way) healInputs(s *Stage, v stage.Heal) error {
	raw, err := yaml.Marshal(v.Training)
	if err != nil {
		return err
	}
	var keys map[string]any
	if err := yaml.Unmarshal(raw, &keys); err != nil {
		return err
	}
	for _, k := range lifeKeys() {
		delete(keys, k)
	}
	for _, u := range v.Unused() {
		delete(keys, u.Field)
	}
	if v.Steps > 0 {
		delete(keys, "epochs")
	}
	for k, value := range keys {
		s.Inputs["heal."+k] = fmt.Sprint(value)
	}
	for _, k := range []string{"lora_init", "init_from"} {
		if path, _ := keys[k].(string); path != "" && w.b.material.exact {
			if s.Inputs["heal."+k], err = stage.FingerprintPath(path); err != nil {
				return fmt.Errorf("heal.%s: %w", k, err)
			}
		}
	}
	d := v.Data
	var from []string
	for _, source := range d.Sources {
		from = append(from, w.b.material.identity(source))
	}
	for k, value := range map[string]string{
		"from": strings.Join(from, ", "), "train_tokens": w.b.material.identity(d.Tokens), "validation_data": w.b.material.identity(d.ValidationData),
		"schema": d.Schema, "map": strings.Join(d.Map, ", "), "template": d.Template, "train_on": d.Learn,
		"max_length": strconv.Itoa(d.MaxLength), "samples": strconv.Itoa(d.Samples), "validation": strconv.Itoa(d.Validation),
	} {
		s.Inputs["heal.data."+k] = value
	}
	return nil
}

package run

import (
	"reflect"
	"strings"
	"time"
)

// Schema is the JSON schema of recipes, made of the structs: for editors.
func Schema() map[string]any {
	s := schemaOf(reflect.TypeFor[Recipe]())
	s["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	s["title"] = "Recipe of coppice run"
	s["required"] = []string{"coppice"}
	return s
}

// schemaOf is the schema of a type.
func schemaOf(t reflect.Type) map[string]any {
	if s, own := ownSchema(t); own {
		return s
	}
	switch t.Kind() {
	case reflect.Pointer:
		return schemaOf(t.Elem())
	case reflect.Struct:
		properties := map[string]any{}
		addProperties(t, properties)
		return map[string]any{"type": "object", "properties": properties, "additionalProperties": false}
	case reflect.Slice:
		return map[string]any{"type": "array", "items": schemaOf(t.Elem())}
	case reflect.Array:
		return map[string]any{"type": "array", "items": schemaOf(t.Elem()), "minItems": t.Len(), "maxItems": t.Len()}
	case reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": schemaOf(t.Elem())}
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Float64:
		return map[string]any{"type": "number"}
	case reflect.Int, reflect.Int64:
		return map[string]any{"type": "integer"}
	case reflect.Uint64:
		return map[string]any{"type": "integer", "minimum": 0}
	}
	return map[string]any{"type": "string"}
}

// ownSchema is that of the types that read YAML themselves.
func ownSchema(t reflect.Type) (map[string]any, bool) {
	text, list := map[string]any{"type": "string"}, map[string]any{"type": "array", "items": map[string]any{"type": "string"}}
	object := map[string]any{"type": "object"}
	switch t {
	case reflect.TypeFor[Count]():
		return oneOf(map[string]any{"type": "integer", "minimum": 1}, constant("all")), true
	case reflect.TypeFor[Strings]():
		return oneOf(text, list), true
	case reflect.TypeFor[Prompts]():
		return oneOf(constant("default"), constant(None), list), true
	case reflect.TypeFor[Between]():
		steps := map[string]any{"steps": map[string]any{"type": "integer", "minimum": 1}}
		return oneOf(constant("full"), constant(None), map[string]any{"type": "object", "properties": steps, "additionalProperties": false}), true
	case reflect.TypeFor[Model]():
		type plain Model
		return oneOf(text, schemaOf(reflect.TypeFor[plain]())), true
	case reflect.TypeFor[Matrix]():
		set := map[string]any{"set": text, "values": map[string]any{"type": "array"}}
		values := map[string]any{"type": "array", "items": oneOf(text, object)}
		axis := oneOf(values, map[string]any{"type": "object", "properties": set, "additionalProperties": false, "required": []string{"set", "values"}})
		return map[string]any{"type": "object", "additionalProperties": axis}, true
	case reflect.TypeFor[Combination]():
		return object, true
	case reflect.TypeFor[time.Duration]():
		return text, true
	}
	return nil, false
}

func constant(v string) map[string]any { return map[string]any{"const": v} }

func oneOf(s ...map[string]any) map[string]any { return map[string]any{"anyOf": s} }

// addProperties adds those of a struct, of the structs inlined in it, too.
func addProperties(t reflect.Type, properties map[string]any) {
	for i := range t.NumField() {
		f := t.Field(i)
		name, opt, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if opt == "inline" {
			addProperties(f.Type, properties)
			continue
		}
		if name == "" || name == "-" {
			continue
		}
		s := schemaOf(f.Type)
		if values := f.Tag.Get("enum"); values != "" {
			s["enum"] = strings.Split(values, ",")
			delete(s, "type")
		}
		if f.Type.Kind() == reflect.Pointer && f.Type.Elem().Kind() == reflect.Struct {
			s = oneOf(s, constant(None))
		}
		if doc := f.Tag.Get("doc"); doc != "" {
			s["description"] = doc
		}
		properties[name] = s
	}
}

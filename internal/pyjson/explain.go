package pyjson

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
)

// Explain replaces an error of encoding/json that speaks of types of Go by one that names the field, what it is
// and what is expected there. Other errors stay as they are.
func Explain(err error) error {
	var wrong *json.UnmarshalTypeError
	if !errors.As(err, &wrong) {
		return err
	}
	field := wrong.Field
	if field == "" {
		field = "the file"
	}
	return fmt.Errorf("%s is %s, and %s is expected", field, found(wrong.Value), expected(wrong.Type))
}

// found names what encoding/json calls bool, array and so on.
func found(value string) string {
	switch value {
	case "bool":
		return "true or false"
	case "array":
		return "a list"
	case "object":
		return "an object"
	}
	return "a " + value
}

// expected says in words of JSON what a type reads.
func expected(t reflect.Type) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "a string"
	case reflect.Slice, reflect.Array:
		return "a list"
	case reflect.Struct, reflect.Map:
		return "an object"
	}
	return "a number"
}

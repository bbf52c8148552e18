package tokenizer

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
)

// looseID is a token id that may be written as a float or as a string, as other programs write numbers.
type looseID int

func (n *looseID) UnmarshalJSON(data []byte) error {
	text := strings.Trim(string(data), `"`)
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || v != math.Trunc(v) || math.Abs(v) > 1<<40 {
		return fmt.Errorf("%.40s is no token id", data)
	}
	*n = looseID(v)
	return nil
}

// readJSON is json.Unmarshal with errors that name the field and what is expected there, not types of Go.
func readJSON(data []byte, into any) error {
	err := json.Unmarshal(data, into)
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

package cpu

import (
	"reflect"
	"testing"
)

// Every buffer has memory, none of a list that of another in it or of one that
// is not shared.
func TestScratch(t *testing.T) {
	var s scratch
	s.init()
	alone := map[*buffer]string{}
	claim := func(owners map[*buffer]string, name string, b *buffer) {
		t.Helper()
		if b == nil {
			t.Fatalf("%s has no memory", name)
		}
		if owner := owners[b] + alone[b]; owner != "" {
			t.Errorf("%s and %s are one", name, owner)
		}
		owners[b] = name
	}
	v := reflect.ValueOf(&s).Elem()
	each := func(do func(name string, list map[string]*buffer)) {
		for i := range v.NumField() {
			list := map[string]*buffer{}
			name, f := v.Type().Field(i).Name, v.Field(i)
			if f.Kind() == reflect.Pointer {
				list[name] = (*buffer)(f.UnsafePointer())
			} else {
				for j := range f.NumField() {
					list[name+"."+f.Type().Field(j).Name] = (*buffer)(f.Field(j).UnsafePointer())
				}
			}
			do(name, list)
		}
	}
	never := map[string]bool{"convert": true, "row": true, "product": true, "adapter": true}
	each(func(name string, list map[string]*buffer) {
		for n, b := range list {
			if never[name] {
				claim(alone, n, b)
			}
		}
	})
	forward := map[string]bool{"feed": true, "attention": true, "head": true, "gram": true}
	ahead := map[*buffer]string{} // of the forward pass, which the backward pass may make anew
	each(func(name string, list map[string]*buffer) {
		own := map[*buffer]string{}
		for n, b := range list {
			if never[name] {
				continue
			}
			claim(own, n, b)
			if forward[name] {
				ahead[b] = n
			} else if ahead[b] != "" {
				t.Errorf("%s and %s are one", n, ahead[b])
			}
		}
	})
	few := s.row.floats(3)
	if many := s.row.floats(100); len(few) != 3 || len(many) != 100 || &s.row.floats(50)[0] != &many[0] {
		t.Error("a buffer does not keep the largest ask")
	}
}

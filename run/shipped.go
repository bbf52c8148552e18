package run

import (
	"embed"
	"path"
	"strings"
)

// recipes are those that come with Coppice.
//
//go:embed recipes
var recipes embed.FS

// Shipped lists the recipes that come with Coppice.
func Shipped() (names []string) {
	entries, _ := recipes.ReadDir("recipes")
	for _, e := range entries {
		names = append(names, strings.TrimSuffix(e.Name(), path.Ext(e.Name())))
	}
	return names
}

// Text is a shipped recipe as it is written, with its comments.
func Text(name string) ([]byte, error) { return shipped(name) }

func shipped(name string) ([]byte, error) {
	raw, err := recipes.ReadFile("recipes/" + name + ".yaml")
	if err != nil {
		return nil, unknownName(name)
	}
	return raw, nil
}

package onig

import (
	"strings"
	"unicode"
)

// property finds a class by the name in \p{…} or [:…:], without regard to case, spaces, '-' and '_'.
func property(name string) ([]span, error) {
	key := squeeze(name)
	if spans, ok := posix(key); ok {
		return spans, nil
	}
	switch key {
	case "any":
		return []span{{0, unicode.MaxRune}}, nil
	case "ascii":
		return []span{{0, 127}}, nil
	case "assigned":
		return complement(tables(unicode.Cn)), nil
	}
	for _, known := range []map[string]*unicode.RangeTable{unicode.Categories, unicode.Scripts, unicode.Properties} {
		for have, table := range known {
			if squeeze(have) == key {
				return tables(table), nil
			}
		}
	}
	for long, short := range unicode.CategoryAliases {
		if squeeze(long) == key {
			return tables(unicode.Categories[short]), nil
		}
	}
	return nil, unsupported(`\p{` + name + `}`)
}

func squeeze(name string) string {
	return strings.ToLower(strings.NewReplacer(" ", "", "-", "", "_", "").Replace(name))
}

func alphabetic() []span { return tables(unicode.L, unicode.Nl, unicode.Other_Alphabetic) }

// word is \w: what is alphabetic, marks of every kind (the vowel signs of Indic scripts), digits and connectors.
func word() []span {
	return merged(append(alphabetic(), tables(unicode.M, unicode.Nd, unicode.Pc)...))
}

// wordAlone is \w outside a class and what \b goes by: Oniguruma takes the fractions and raised digits of Latin-1
// from a table of their own there.
func wordAlone() []span {
	return merged(append(word(), span{0xb2, 0xb3}, span{0xb9, 0xb9}, span{0xbc, 0xbe}))
}

func hexadecimal() []span { return []span{{'0', '9'}, {'A', 'F'}, {'a', 'f'}} }

// posix are the classes that POSIX names, in Unicode's extent.
func posix(name string) ([]span, bool) {
	switch name {
	case "alnum":
		return merged(append(alphabetic(), tables(unicode.Nd)...)), true
	case "alpha", "alphabetic":
		return alphabetic(), true
	case "blank":
		return merged(append(tables(unicode.Zs), span{'\t', '\t'})), true
	case "cntrl":
		return tables(unicode.Cc), true
	case "digit":
		return tables(unicode.Nd), true
	case "graph":
		return graph(), true
	case "lower", "lowercase":
		return tables(unicode.Ll, unicode.Other_Lowercase), true
	case "print":
		return merged(append(graph(), tables(unicode.Zs)...)), true
	case "punct":
		return tables(unicode.P), true
	case "space":
		return tables(unicode.White_Space), true
	case "upper", "uppercase":
		return tables(unicode.Lu, unicode.Other_Uppercase), true
	case "word":
		return word(), true
	case "xdigit":
		return hexadecimal(), true
	}
	return nil, false
}

func graph() []span {
	return complement(tables(unicode.White_Space, unicode.Cc, unicode.Cs, unicode.Cn))
}

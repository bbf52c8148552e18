package tokenizer

// trie finds the longest of a set of strings that a text begins with.
type trie struct {
	nodes []trieNode
	first [256]bool
}

// trieNode lists its children by byte; id is -1 where no string ends.
type trieNode struct {
	labels   []byte
	children []int32
	id       int
}

func (t *trie) empty() bool { return len(t.nodes) == 0 }

func (t *trie) add(text string, id int) {
	if text == "" {
		return
	}
	if t.empty() {
		t.nodes = []trieNode{{id: -1}}
	}
	t.first[text[0]] = true
	at := int32(0)
	for i := 0; i < len(text); i++ {
		next, ok := t.child(at, text[i])
		if !ok {
			next = int32(len(t.nodes))
			t.nodes = append(t.nodes, trieNode{id: -1})
			t.nodes[at].labels = append(t.nodes[at].labels, text[i])
			t.nodes[at].children = append(t.nodes[at].children, next)
		}
		at = next
	}
	t.nodes[at].id = id
}

func (t *trie) child(at int32, label byte) (int32, bool) {
	n := &t.nodes[at]
	for i, have := range n.labels {
		if have == label {
			return n.children[i], true
		}
	}
	return 0, false
}

// longest returns the id and the length of the longest string that text begins with; length 0 means none.
func (t *trie) longest(text string) (id, length int) {
	if text == "" || !t.first[text[0]] {
		return -1, 0
	}
	id = -1
	at := int32(0)
	for i := 0; i < len(text); i++ {
		next, ok := t.child(at, text[i])
		if !ok {
			break
		}
		at = next
		if t.nodes[at].id >= 0 {
			id, length = t.nodes[at].id, i+1
		}
	}
	return id, length
}

// cut visits text from left to right: the strings of the set, and what lies between them.
func (t *trie) cut(text string, between func(string), found func(from, to int)) {
	start := 0
	if !t.empty() {
		for at := 0; at < len(text); {
			_, n := t.longest(text[at:])
			if n == 0 {
				at++
				continue
			}
			if start < at {
				between(text[start:at])
			}
			found(at, at+n)
			at += n
			start = at
		}
	}
	if start < len(text) {
		between(text[start:])
	}
}

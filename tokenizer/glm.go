package tokenizer

// What the code of ChatGLM's tokenizers does, which travels with the checkpoints as Python.

const (
	gMask    = "[gMASK]"
	sop      = "sop"
	roleUser = "<|user|>"
)

// glmTokens are what ChatGLM's tokenizer adds to its SentencePiece vocabulary, in order; glmRoles come after
// them since ChatGLM3.
func glmTokens() []string { return []string{"[MASK]", gMask, "[sMASK]", sop, "eop"} }

func glmRoles() []string {
	return []string{"<|system|>", roleUser, "<|assistant|>", "<|observation|>"}
}

// extendGLM adds ChatGLM's tokens. Text is searched for none of them by Encode, and for the roles, where there
// are any, by EncodeMarked: "sop" is a part of words.
func (t *Tokenizer) extendGLM(roles bool) []addedToken {
	var all []addedToken
	add := func(text string) int {
		id := len(t.tokens)
		t.tokens, t.known = append(t.tokens, text), append(t.known, true)
		all = append(all, addedToken{ID: id, Content: text, Special: true})
		return id
	}
	for _, text := range glmTokens() {
		id := add(text)
		if text == gMask || text == sop {
			t.always = append(t.always, id)
		}
	}
	t.post.before = t.always
	t.opening = []string{gMask + sop, gMask + " " + sop, gMask + "<" + sop + ">"}
	if !roles {
		return all
	}
	for _, text := range glmRoles() {
		add(text)
	}
	t.marked = newAddedTokens(all[len(glmTokens()):], nil)
	t.turnEnds = t.ends()
	return all
}

// ends are the tokens of a GLM that begin another's message.
func (t *Tokenizer) ends() []int {
	var all []int
	for _, text := range []string{roleUser, "<|observation|>"} {
		if id, ok := t.lookup(text); ok {
			all = append(all, id)
		}
	}
	return all
}

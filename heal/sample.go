package heal

import "fmt"

// Ignore is the label of a place that is no target, as in PyTorch's cross entropy.
const Ignore = -100

// Sample is one training sequence.
type Sample struct {
	Tokens []int32 // [T]
	// Labels [T] says what should stand at each place, given the tokens before it,
	// or Ignore. The first place has nothing before it and is never a target.
	Labels []int32
}

// Targets counts the places the sample is trained on.
func (s Sample) Targets() int {
	n := 0
	for _, l := range s.Labels[1:] {
		if l != Ignore {
			n++
		}
	}
	return n
}

// last is the place of the last target, 0 if there is none.
func (s Sample) last() int {
	for i := len(s.Labels) - 1; i > 0; i-- {
		if s.Labels[i] != Ignore {
			return i
		}
	}
	return 0
}

// Check says what is wrong with a sample for a vocabulary of size vocab.
func (s Sample) Check(vocab int) error {
	if len(s.Tokens) == 0 {
		return fmt.Errorf("there are no tokens")
	}
	if len(s.Labels) != len(s.Tokens) {
		return fmt.Errorf("there are %d labels for %d tokens", len(s.Labels), len(s.Tokens))
	}
	for i, id := range s.Tokens {
		if id < 0 || int(id) >= vocab {
			return fmt.Errorf("token id %d at index %d is outside the vocabulary of %d", id, i, vocab)
		}
		if l := s.Labels[i]; l != Ignore && (l < 0 || int(l) >= vocab) {
			return fmt.Errorf("label %d at index %d is neither %d nor an id of the vocabulary of %d", l, i, Ignore, vocab)
		}
	}
	return nil
}

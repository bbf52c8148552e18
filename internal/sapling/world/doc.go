// Package world makes up a small world and writes about it: people, towns and
// things with facts about each, animals by their size, jobs for tools, little
// stories, small sums; questions in the shapes of benchmarks, instructions in
// Alpaca's schema, plain text for calibration.
//
// All of it is a function of a seed. What tasks ask is held out: which people,
// towns and things are never asked about in training, which pairs never meet in
// it, and names that never occur in it, is decided by the world (Held), and both
// the texts and the tasks are made from that. Nothing here knows of models or
// tokenizers.
package world

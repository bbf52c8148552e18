// Package heal fine-tunes what is left of a model after layers were cut: all of
// it, its last layers and head, or low-rank adapters beside it. It decides what
// the loss needs, in which order samples come, and what is kept so that an
// interrupted run goes on as if nothing had happened.
//
// How a layer computes its gradients belongs in engine, which parts of a model
// are in memory in resident, where rows of text come from in data and stage.
package heal

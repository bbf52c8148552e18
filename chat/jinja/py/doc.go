// Package py holds the values of templates as Python has them: their types, operators, order, and how they are
// written, within the steps and memory of an Env.
//
// Here belongs what is true of a value anywhere. Names, filters and methods belong to package builtin, control flow
// to package jinja.
package py

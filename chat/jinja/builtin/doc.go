// Package builtin holds what every template can call: filters, tests, methods of strings, lists and mappings, and
// global functions. What would change a value, make HTML, or reach outside of the template is not there.
//
// A filter is a function and a line in FilterNamed, a test one in TestNamed.
package builtin

// Package plot draws what commands found: the profile of layer scores, the
// curve of what is lost as layers are cut, matrices of similarity. Pictures
// are told apart by position, shape and grey alone, so that they can be read
// without colour and printed.
//
// What is drawn comes as plain numbers; what they mean, and whether a picture
// is wanted, is for the caller to know.
package plot

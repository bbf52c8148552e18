package data

// Calibration is the data set that layers are scored on where nobody names one: a
// small set of Wikipedia's good articles (CC BY-SA), 6 MB, at a commit that cannot
// change.
const Calibration = "Salesforce/wikitext@b08601e04326c79dfdd32d625aee71d232d685c3:wikitext-2-raw-v1/train"

package world

// Syllables of names. People's starts are told from towns', rivers' and things'.
func personStarts() []string {
	return []string{"Ba", "Co", "Da", "Fe", "Ga", "Hu", "Jo", "Ka", "Li", "Mo"}
}
func personEnds() []string  { return []string{"lin", "mar", "ric", "sa", "vin", "dor", "net"} }
func townStarts() []string  { return []string{"Os", "Un", "El", "Ark"} }
func townEnds() []string    { return []string{"lem", "ford", "wick", "by"} }
func riverStarts() []string { return []string{"Yar", "Zel", "Vor", "Quo"} }
func riverEnds() []string   { return []string{"e", "an", "u", "is"} }
func thingStarts() []string { return []string{"bli", "cro", "dru", "fla", "gri", "plo", "sku"} }
func thingEnds() []string   { return []string{"mp", "zet", "del", "ck", "nt", "ber", "tto"} }

// Syllables of strangers, who have names of three: they come up once each, and in
// tasks are others than in training.
func strangeStarts() []string {
	return []string{"Wa", "Xe", "Ti", "Su", "Ro", "Pe", "No", "Ve", "Zi", "Ho"}
}
func strangeMiddles() []string { return []string{"ba", "ke", "li", "no", "ru", "ta", "vi", "wo"} }
func strangeEnds() []string    { return []string{"n", "l", "s", "th", "m", "k"} }

type job struct{ name, tool string }

func jobs() []job {
	return []job{
		{"baker", "oven"}, {"smith", "hammer"}, {"farmer", "plough"}, {"miller", "stone"}, {"tailor", "needle"},
		{"fisher", "net"}, {"hunter", "bow"}, {"barber", "razor"}, {"painter", "brush"}, {"writer", "pen"},
	}
}

func pets() []string { return []string{"cat", "dog", "goat", "duck", "pig", "hen", "owl", "toad"} }
func foods() []string {
	return []string{"plums", "bread", "soup", "cheese", "nuts", "eggs", "pears", "beans"}
}
func goods() []string { return []string{"salt", "wool", "tin", "wine", "honey", "rope"} }
func trees() []string { return []string{"oak", "elm", "ash", "fir"} }

func materials() []string {
	return []string{"iron", "wood", "glass", "clay", "silver", "bone", "copper"}
}
func colours() []string { return []string{"red", "blue", "green", "black", "white", "grey"} }
func uses() []string    { return []string{"cook", "dig", "sing", "sew", "fish", "paint", "read"} }

// animals by their size, the smallest first.
func animals() []string {
	return []string{"ant", "bee", "mouse", "toad", "hen", "cat", "fox", "dog", "goat", "pig", "deer", "lion", "horse", "cow", "bear", "whale"}
}

// way is how something is done, to many kinds of object alike.
type way struct{ verb, tool string }

func ways() []way {
	return []way{
		{"cut", "knife"}, {"paint", "brush"}, {"wash", "sponge"}, {"tie", "rope"}, {"carry", "basket"}, {"weigh", "scale"},
		{"heat", "fire"}, {"break", "hammer"}, {"lift", "crane"}, {"cover", "cloth"}, {"find", "lamp"}, {"glue", "paste"},
	}
}

func objects() []string {
	return []string{"bread", "box", "table", "door", "wheel", "pot", "stone", "chair", "boat", "plank", "barrel", "sack", "bell", "bench", "coat", "gate"}
}

// need is a state, where one goes with it, and what one does there.
type need struct{ name, state, place, act string }

func needs() []need {
	return []need{
		{"Thirst", "thirsty", "well", "drank some water"}, {"Hunger", "hungry", "kitchen", "ate some bread"},
		{"Cold", "cold", "fire", "got warm"}, {"Sleep", "tired", "bed", "went to sleep"},
		{"Dirt", "dirty", "river", "had a bath"}, {"Rain", "wet", "house", "put on a dry coat"},
		{"Illness", "sick", "doctor", "took the medicine"}, {"Boredom", "bored", "fair", "played a game"},
		{"Debt", "poor", "bank", "asked for money"}, {"Fear", "afraid", "door", "closed it"},
		{"Loss", "lost", "map", "found the way"}, {"Dark", "blind", "lamp", "lit it"},
	}
}

// pairing is a sentence about two, of which one or the other is the reason.
type pairing struct{ does, first, second string }

// gifts are between people: the reason is in the first or in the second.
func gifts() []pairing {
	return []pairing{
		{"gave bread to", "was kind", "was hungry"}, {"gave a coat to", "was generous", "was cold"},
		{"asked the way of", "was lost", "knew the road"}, {"ran away from", "was afraid", "was angry"},
		{"carried the sack of", "was strong", "was weak"}, {"borrowed money from", "was poor", "was rich"},
	}
}

// fits are between an object and what should hold it.
func fits() []pairing {
	return []pairing{{"did not fit in", "was too big", "was too small"}, {"broke", "was too heavy", "was too thin"}}
}

func contents() []string {
	return []string{"melon", "ball", "statue", "pillow", "anvil", "ham", "log", "drum"}
}
func containers() []string {
	return []string{"cup", "bag", "drawer", "shelf", "tray", "nest", "purse", "basket"}
}

// digits is one more than the largest number that sums are made of.
const digits = 4

func numbers() []string {
	return []string{"zero", "one", "two", "three", "four", "five", "six"}
}

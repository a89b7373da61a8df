package auth

import (
	"errors"
	"strings"

	"golang.org/x/crypto/bcrypt"
)

// passwdCost is the work of a bcrypt hash that Passwd makes: about 50 ms.
const passwdCost = 10

// Passwd returns a line "name:hash" for a users file, and the same line as it is written
// in a label of a compose file, where each dollar is doubled.
func Passwd(name, password string) (line, label string, err error) {
	switch {
	case name == "":
		return "", "", errors.New("the name is empty")
	case strings.ContainsAny(name, ":,\n\r"):
		return "", "", errors.New("the name has a colon, a comma or a line break")
	case password == "":
		return "", "", errors.New("the password is empty")
	case len(password) > 72:
		return "", "", errors.New("the password is longer than the 72 bytes that bcrypt looks at")
	}
	hash, err := bcrypt.GenerateFromPassword([]byte(password), passwdCost)
	if err != nil {
		return "", "", err
	}
	line = name + ":" + string(hash)
	return line, strings.ReplaceAll(line, "$", "$$"), nil
}

"""The program that travels with a bundle of evidence, and checks it where the product never was."""

"""What a user would pick instead of the nightly pipeline, each as the program that such a user would write."""

"""What is wrong with the files of a datalist, before a training finds out."""
